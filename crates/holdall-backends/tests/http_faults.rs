//! What `http:` makes of connections that break and of servers that are none.
