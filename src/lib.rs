//! Firesteel: an HTTP server that speaks the Livy REST API and runs Spark sessions for thin remote notebooks.
//!
//! The journey of a statement goes down this list and back up: `api` (JSON and status codes), `access` (who may), `policy` (what a
//! request may ask for), `session` (states and order), `driver` (processes and frames). `store` keeps, `config` tells.
//! `client` is the command line's other half, which knows the server by HTTP only.
//! `docs/architecture.md` draws the house; `tests/structure.rs` keeps modules from importing one above them.

pub mod access;
pub mod admission;
pub mod api;
pub mod audit;
pub mod authentication;
pub mod background;
pub mod batch;
pub mod client;
pub mod clock;
pub mod cluster;
pub mod config;
pub mod counters;
pub mod driver;
pub mod failpoint;
pub mod gpu;
pub mod idempotency;
pub mod import;
pub mod metrics;
pub mod output;
pub mod ownership;
pub mod peer;
pub mod policy;
pub mod pool;
pub mod profile;
pub mod quota;
pub mod ready;
pub mod serve;
pub mod service;
pub mod session;
pub mod sharing;
pub mod starts;
pub mod store;
mod sys;
pub mod tabular;
pub mod telemetry;
pub mod traces;
pub mod turn;
pub mod upload;
mod web;
