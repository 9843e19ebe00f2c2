//! The least that an actix server can do for a GET of a statement: find it in a map, answer what is there. `benches/gets.py` puts
//! it beside the real one.
//!
//!     cargo run --release --example bare_actix -- WORKERS BODY_FILE
#![expect(
    clippy::print_stdout,
    reason = "the script that starts it reads where it listens"
)]

use std::collections::HashMap;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use actix_web::web::{self, Bytes, Data};
use actix_web::{App, HttpResponse, HttpServer, get};

/// Bodies by session and statement.
type Statements = RwLock<HashMap<(i64, i64), Bytes>>;

#[get("/sessions/{session}/statements/{statement}")]
async fn show(statements: Data<Statements>, path: web::Path<(i64, i64)>) -> HttpResponse {
    let found = statements
        .read()
        .ok()
        .and_then(|statements| statements.get(&path).cloned());
    match found {
        Some(body) => HttpResponse::Ok().content_type("application/json").body(body),
        None => HttpResponse::NotFound().finish(),
    }
}

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let usage = || std::io::Error::other("bare_actix WORKERS BODY_FILE");
    let workers = arguments.next().and_then(|count| count.parse().ok());
    let body = std::fs::read(arguments.next().ok_or_else(usage)?)?;
    let statements: Arc<Statements> = Arc::default();
    if let Ok(mut statements) = statements.write() {
        statements.insert((0, 0), body.into());
    }
    let app = move || {
        App::new()
            .app_data(Data::from(Arc::clone(&statements)))
            .service(show)
    };
    let server = HttpServer::new(app)
        .workers(workers.ok_or_else(usage)?)
        // As the server: a connection outlives its turn while the other peers have theirs.
        .keep_alive(Duration::from_secs(75))
        .bind("127.0.0.1:0")?;
    for address in server.addrs() {
        println!("{address}");
    }
    server.run().await
}
