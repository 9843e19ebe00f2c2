//! `/batches`: made, listed, shown, ended.

use actix_web::http::header::LOCATION;
use actix_web::web::{Payload, Query};
use actix_web::{HttpRequest, HttpResponse, delete, get, post};

use super::App;
use super::accepted::{self, Accepted, Wanted};
use super::answered::answered;
use super::drain;
use super::error::ApiError;
use super::followed_log::{Follow, follow};
use super::guard::{Create, List, Modify, OnBatch, OnServer, See, View};
use super::json::{REPLAYED, ok, read_keyed};
use super::link_to;
use super::named_uploads::NamedUploads;
use super::pages::{PageQuery, log_page};
use super::sessions::{DoAs, LOG_LINES};
use super::tagged::{NotModified, Tagged, json_of, page, send, tagged};
use super::wire::{BatchView, BatchesView, CreateBatch, Log, Message, StateView};
use crate::access::target_user;
use crate::batch::{Application, Batch, DriverSpec, NewBatch, Resources};
use crate::policy;
use crate::profile::spark_conf;
use crate::quota;
use crate::ready::Ready;

/// All batches that the caller may see.
#[utoipa::path(operation_id = "listBatches", tag = "batches", params(PageQuery, Tagged), responses((status = 200, body = BatchesView), NotModified))]
#[get("/batches")]
pub async fn list(
    on: OnServer<List>,
    wanted: Query<PageQuery>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let window = wanted.window(on.app.config.limits.page)?;
    let all: Vec<Batch> = on
        .app
        .batches
        .all()
        .into_iter()
        .filter(|batch| on.may_see(batch))
        .collect();
    let total = all.len();
    let shown = window
        .of(all)
        .into_iter()
        .map(|batch| (on.is_stranger_to(&batch), batch))
        .collect();
    let rows = all_shown(&on.app, shown).await?;
    let around = BatchesView {
        from: window.from,
        total,
        sessions: Vec::new(),
    };
    Ok(page(&request, &around, &rows))
}

/// Starts a batch.
#[utoipa::path(
    operation_id = "createBatch",
    tag = "batches",
    params(
        DoAs,
        ("Idempotency-Key" = Option<String>, Header, description = "the same key and body are answered with the same batch for retention.idempotency"),
    ),
    request_body = CreateBatch,
    responses(
        (status = 201, body = BatchView, headers(("Location" = String, description = "the batch's path"))),
        (status = 400, description = "the request can't be met, or never within the caller's quota; the body says why"),
        (status = 403, description = "the caller may not act as that user"),
        (status = 404, description = "the batch that the Idempotency-Key made is gone"),
        (status = 413, description = "the body is over limits.request_body"),
        (status = 422, description = "the Idempotency-Key came with another request before"),
        (status = 503, description = "the queue is full, the store fails, or the server is stopping; try again after Retry-After"),
    )
)]
#[post("/batches")]
pub async fn create(
    on: OnServer<Create>,
    query: Query<DoAs>,
    payload: Payload,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let app = on.app.clone();
    let scope = match &on.caller.user {
        Some(user) => format!("batches of user/{user}"),
        None => "batches of everybody".to_owned(),
    };
    let (body, key) = read_keyed(&request, payload, scope).await?;
    // Held until what the request makes is found among the live ones.
    let mut uploads = NamedUploads::new(&app.uploads, on.caller.user.as_deref());
    let accepted = accept(&on, &mut uploads, query.into_inner().do_as, body);
    if accepted.is_ok()
        && let Some(refusal) = drain::refusal(&app, "batches")
    {
        return Err(refusal);
    }
    let (batch, replayed) = match accepted {
        Ok(new) => app.batches.create(new, key).await?,
        Err(refusal) => (app.batches.made_before(key).await?.ok_or(refusal)?, true),
    };
    let mut response = HttpResponse::Created();
    response.insert_header((LOCATION, link_to(&request, &format!("/batches/{}", batch.id))));
    if replayed {
        response.insert_header(REPLAYED);
    }
    let ready = shown(&app, &batch, false).await?;
    Ok(answered("batch.answered", send(&request, response, &ready)))
}

/// Applies the policy to a request; nothing is used up when it is refused.
fn accept(
    on: &OnServer<Create>,
    uploads: &mut NamedUploads<'_>,
    do_as: Option<String>,
    body: CreateBatch,
) -> Result<NewBatch, ApiError> {
    let config = &on.app.config;
    let file = body
        .file
        .as_deref()
        .map(str::trim)
        .filter(|file| !file.is_empty());
    let file = file.ok_or_else(|| ApiError::Rejected("requirement failed: File is required.".to_owned()))?;
    let proxy_user = target_user(
        &on.caller,
        do_as.as_deref(),
        body.proxy_user.as_deref(),
        &config.access,
    )?;
    policy::check_count("args", body.args.len(), config.limits.list_entries).map_err(accepted::rejected)?;
    if let Some(at) = body.args.iter().position(|arg| arg.contains('\0')) {
        return Err(ApiError::Rejected(format!(
            "args[{at}] must not have NUL characters."
        )));
    }
    let given = body.args.iter().enumerate();
    let args = given.map(|(at, arg)| ("args", Some(at), arg.as_str()));
    let class = body
        .class_name
        .iter()
        .map(|name| ("className", None, name.as_str()));
    let arguments = std::iter::once(("file", None, file)).chain(class).chain(args);
    policy::check_args(arguments, accepted::as_length(config.limits.args_bytes))
        .map_err(accepted::rejected)?;
    let is_class = |name: &str| {
        let plain = |c: char| c.is_alphanumeric() || "._$".contains(c);
        !name.is_empty() && name.chars().all(plain)
    };
    if let Some(name) = body.class_name.as_deref().filter(|name| !is_class(name)) {
        return Err(ApiError::Rejected(format!(
            "className {name:?} is no name of a class."
        )));
    }
    let Accepted {
        cluster,
        in_cluster,
        conf,
        resources,
        gpus,
        conf_dirs,
        cost,
        mut notes,
    } = accepted::accept(
        &on.app,
        &on.caller,
        uploads,
        Wanted {
            what: quota::Kind::Batch,
            name: body.name.as_deref(),
            proxy_user: proxy_user.as_deref(),
            conf: &body.conf,
            jars: &body.jars,
            py_files: &body.py_files,
            files: &body.files,
            archives: &body.archives,
            resources: Resources {
                driver_memory: body.driver_memory,
                driver_cores: body.driver_cores,
                executor_memory: body.executor_memory,
                executor_cores: body.executor_cores,
                num_executors: body.num_executors,
                queue: body.queue,
                ..Resources::default()
            },
        },
    )?;
    let file = uploads.in_text("file", file)?;
    let files = policy::resolve_files([file], &uploads.and_allowed(&config.files.allow))
        .map_err(accepted::rejected)?;
    notes.extend(accepted::unknown_fields(&body.unknown));
    if body.proxy_user.is_some() && !config.access.impersonation {
        notes.push("The request's proxyUser was ignored: access.impersonation is off.".to_owned());
    }
    Ok(NewBatch {
        owner: on.caller.user.clone(),
        proxy_user: proxy_user.clone(),
        is_remote: cluster.is_some() && in_cluster.spark.runs_in_cluster(),
        driver: DriverSpec {
            cluster,
            application: Some(Application {
                file: files.concat(),
                class_name: body.class_name,
                args: body.args,
            }),
            app_name: body.name.clone().unwrap_or_default(),
            conf: spark_conf(&conf),
            conf_dirs,
            proxy_user,
            resources,
            ..DriverSpec::default()
        },
        name: body.name,
        notes,
        uploads: uploads.ids(),
        gpus,
        cost,
        groups: on.caller.groups().to_vec(),
    })
}

/// One batch, by id or name.
#[utoipa::path(
    operation_id = "getBatch",
    tag = "batches",
    params(("id" = String, Path, description = "id or name"), Tagged),
    responses((status = 200, body = BatchView), NotModified, (status = 404, description = "there is none, or it is somebody else's"))
)]
#[get("/batches/{id}")]
pub async fn show(on: OnBatch<See>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let ready = shown(&on.app, &on.batch, on.is_stranger).await?;
    Ok(send(&request, HttpResponse::Ok(), &ready))
}

/// One batch's state.
#[utoipa::path(
    operation_id = "getBatchState",
    tag = "batches",
    params(("id" = String, Path, description = "id or name"), Tagged),
    responses((status = 200, body = StateView), NotModified, (status = 404))
)]
#[get("/batches/{id}/state")]
pub async fn state(on: OnBatch<See>, request: HttpRequest) -> HttpResponse {
    let snapshot = on.batch.snapshot();
    let view = StateView {
        id: on.batch.id,
        state: snapshot.state.as_str(),
    };
    let ready = snapshot.state_body.or_make(|| json_of(&view));
    send(&request, HttpResponse::Ok(), &ready)
}

/// A page of the batch's log: standard output, standard error, and what the server adds.
#[utoipa::path(
    operation_id = "getBatchLog",
    tag = "batches",
    params(("id" = String, Path, description = "id or name"), PageQuery, Follow, Tagged),
    responses((status = 200, body = Log, description = "with follow=true plain text"), NotModified, (status = 403), (status = 404), (status = 503, description = "too many clients follow (events.clients)"))
)]
#[get("/batches/{id}/log")]
pub async fn log(
    on: OnBatch<View>,
    page: Query<PageQuery>,
    how: Query<Follow>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let (from, size) = (page.from()?, page.size()?);
    if how.follow == Some(true) {
        let followed = on.batch.clone();
        return follow(&on.app, from, move || followed.snapshot().log_now());
    }
    let snapshot = on.batch.snapshot();
    let max_bytes = on.app.config.log.max_bytes.bytes();
    let read = on.app.background.bulk(move || snapshot.log(max_bytes));
    let lines = read.await.unwrap_or_default();
    let (id, total) = (on.batch.id, lines.len());
    let (from, log) = log_page(from, size, lines);
    Ok(tagged(&request, &Log { id, from, total, log }))
}

/// Deletes a batch and ends its driver. It is not found from the answer on.
#[utoipa::path(
    operation_id = "deleteBatch",
    tag = "batches",
    params(("id" = String, Path, description = "id or name")),
    responses((status = 200, body = Message), (status = 403), (status = 404), (status = 503))
)]
#[delete("/batches/{id}")]
pub async fn delete(on: OnBatch<Modify>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    on.app.batches.delete(&on.batch).await?;
    Ok(ok(&request, &Message { msg: "deleted" }))
}

/// A batch as JSON, as this caller may see it.
async fn shown(app: &App, batch: &Batch, is_stranger: bool) -> Result<Ready, ApiError> {
    let snapshot = batch.snapshot();
    if let Some(ready) = snapshot.bodies[usize::from(is_stranger)].still(snapshot.gpu_usage.as_ref()) {
        return Ok(ready);
    }
    let batch = batch.clone();
    let made = app
        .background
        .blocking(move || look_at(&batch, is_stranger))
        .await;
    made.map_err(ApiError::from)
}

/// The same of many, each with whether the caller is a stranger to it. Logs are read off the workers.
async fn all_shown(app: &App, batches: Vec<(bool, Batch)>) -> Result<Vec<Ready>, ApiError> {
    let look = move || {
        let look = |(is_stranger, batch): &(bool, Batch)| look_at(batch, *is_stranger);
        batches.iter().map(look).collect()
    };
    app.background.blocking(look).await.map_err(ApiError::from)
}

/// A batch as JSON. Reads its log, unless nothing has changed.
fn look_at(batch: &Batch, is_stranger: bool) -> Ready {
    let snapshot = batch.snapshot();
    let (run_dir, usage) = (snapshot.run_dir.as_ref(), snapshot.gpu_usage.as_ref());
    let kept = &snapshot.bodies[usize::from(is_stranger)];
    let make = || {
        let count = if is_stranger { 0 } else { LOG_LINES };
        json_of(&BatchView::new(batch, &snapshot, snapshot.log_tail(count)))
    };
    kept.still(usage)
        .unwrap_or_else(|| kept.make(run_dir, usage, make))
}
