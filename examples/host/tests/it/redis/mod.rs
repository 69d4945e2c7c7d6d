//! Several hosts on Redis: on one server, behind Sentinels, and on a Cluster. To the provider and to callers they are one,
//! whatever happens to hosts and servers. The simulator's log is the judge.

mod ended;
mod failover;
mod fleet;
mod ground;
mod herd;
mod judge;
mod kill;
mod one_server;
mod partition;
mod rollback;
mod tools;
