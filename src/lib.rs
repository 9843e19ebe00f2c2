//! Firesteel: an HTTP server that speaks the Livy REST API and runs Spark sessions.

pub mod access;
pub mod config;
pub mod policy;
