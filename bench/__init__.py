"""Measures tlsproxy beside nginx, HAProxy, hitch, stunnel and Dovecot's proxy; it uses tlsproxy only from outside."""
