//! `/sessions/{id}/upload-*` and `/add-*`: jars, Python files and other files for a session that lives, Livy's way.
//!
//! What is uploaded is kept as an upload for that session alone. Spark gets a file's URI, and serves it to its executors.

use std::sync::Arc;

use actix_web::web::Payload;
use actix_web::{HttpRequest, HttpResponse, post};

use super::error::ApiError;
use super::guard::{Modify, OnSession};
use super::json::read;
use super::multipart::{self, For};
use super::named_uploads::{NamedUploads, local_uri};
use super::wire::AddRequest;
use crate::policy;
use crate::session::{AddError, Addition};
use crate::upload::Upload;

macro_rules! routes {
    ($($(#[doc = $doc:literal])+ $name:ident at $path:literal, $id:literal, $form:ident: $call:ident($($argument:expr),+);)+) => { $(
        $(#[doc = $doc])+
        #[utoipa::path(
            operation_id = $id,
            tag = "sessions",
            params(("id" = String, Path, description = "id or name")),
            request_body(content = super::wire::$form),
            responses(
                (status = 200, description = "it is there; the body is empty"),
                (status = 400, description = "it can't be added; the body says why"),
                (status = 403),
                (status = 404),
                (status = 413, description = "it is over upload.max_bytes, or the owner's uploads are over upload.owner_bytes"),
                (status = 503, description = "it was not added within session.add_timeout, or there is no room; try again after Retry-After"),
            )
        )]
        #[post($path)]
        pub async fn $name(
            on: OnSession<Modify>,
            payload: Payload,
            request: HttpRequest,
        ) -> Result<HttpResponse, ApiError> {
            $call(&on, &request, payload, $($argument),+).await
        }
    )+ };
}

routes! {
    /// Sends a jar to a live session: its classes are there for all of its languages.
    upload_jar at "/sessions/{id}/upload-jar", "uploadJar", JarForm: upload("jar", Addition::Jar);
    /// Sends a Python file, zip or egg to a live session: it can be imported from the next statement on.
    upload_py_file at "/sessions/{id}/upload-pyfile", "uploadPyFile", UploadForm: upload("file", Addition::PyFile);
    /// Sends a file to a live session: SparkFiles finds it.
    upload_file at "/sessions/{id}/upload-file", "uploadFile", UploadForm: upload("file", Addition::File);
    /// Adds a jar to a live session: its classes are there for all of its languages.
    add_jar at "/sessions/{id}/add-jar", "addJar", AddRequest: add(Addition::Jar);
    /// Adds a Python file, zip or egg to a live session: it can be imported from the next statement on.
    add_py_file at "/sessions/{id}/add-pyfile", "addPyFile", AddRequest: add(Addition::PyFile);
    /// Adds a file to a live session: SparkFiles finds it.
    add_file at "/sessions/{id}/add-file", "addFile", AddRequest: add(Addition::File);
}

async fn upload(
    on: &OnSession<Modify>,
    request: &HttpRequest,
    payload: Payload,
    part: &str,
    what: Addition,
) -> Result<HttpResponse, ApiError> {
    on.session.active();
    let owner = on.session.owner();
    let whose = For {
        owner: owner.as_deref(),
        session: Some(on.session.id),
    };
    let received = multipart::receive(&on.app, request, payload, part, whose).await?;
    let upload = received.ok_or_else(|| ApiError::BadBody(format!("No {part} sent!")))?;
    hand_over(on, what, &upload).await
}

async fn add(
    on: &OnSession<Modify>,
    request: &HttpRequest,
    payload: Payload,
    what: Addition,
) -> Result<HttpResponse, ApiError> {
    on.session.active();
    let body: AddRequest = read(request, payload).await?;
    let given = body.uri.as_deref().map(str::trim).filter(|uri| !uri.is_empty());
    let given = given.ok_or_else(|| ApiError::BadBody("uri: it is missing".to_owned()))?;
    let ownership = on.session.whose.get();
    let caller = on.acting.user.as_deref();
    // Who was only given a right on it names uploads of their own.
    let is_own = caller == ownership.owner.as_deref() || caller == ownership.runs_as();
    let owner = if is_own {
        ownership.owner.as_deref()
    } else {
        caller
    };
    let mut uploads = NamedUploads::new(&on.app.uploads, owner);
    let uri = uploads.in_text("uri", given)?;
    if let Some(claim) = uploads.into_one() {
        let upload = on.app.uploads.give(claim, on.session.id).await?;
        return hand_over(on, what, &upload).await;
    }
    let resolved = policy::resolve_files([uri], &on.app.config.files.allow);
    let resolved = resolved.map_err(|reason| ApiError::BadRequest(reason.to_string()))?;
    on.session.add(what, &resolved.concat()).await?;
    Ok(HttpResponse::Ok().finish())
}

/// Adds an upload that is the session's own; one that is refused goes at once.
async fn hand_over(
    on: &OnSession<Modify>,
    what: Addition,
    upload: &Arc<Upload>,
) -> Result<HttpResponse, ApiError> {
    let uploads = &on.app.uploads;
    let added = on.session.add(what, &local_uri(&uploads.path(upload))).await;
    if matches!(added, Err(AddError::NotActive | AddError::Refused(_))) {
        uploads.remove(upload).await;
    }
    added?;
    Ok(HttpResponse::Ok().finish())
}
