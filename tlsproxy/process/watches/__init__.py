"""What the supervisor keeps an eye on while others work: certificates, backends, open relays."""
