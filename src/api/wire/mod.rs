//! The exact JSON of requests and answers: names, order and types as Livy has them (livy-spec.md, 1.3). No logic but leniency.

pub mod lenient;
mod requests;
mod views;

pub use requests::{
    AddRequest, CompletionRequest, CreateBatch, CreateSession, JarForm, JobRequest, LoginForm, OwnerRequest,
    ShareRequest, StatementRequest, TokenForm, UploadForm,
};
pub use views::{
    BatchView, BatchesView, Candidates, EndedSession, EndedSessions, JobView, Log, LoginView, Message,
    NewTokenView, SessionView, SessionsView, SharesView, StateView, StatementView, StatementsView, TextPage,
    TokenView, TokensView, UploadView, UploadsView, Version,
};

/// Livy's content type of every JSON answer.
pub const JSON: &str = "application/json;charset=utf-8";
