//! The examples of the OpenAPI document: exchanges with a real server, which a test (`tests/api/test_openapi_examples.py`) has recorded and asks
//! for again.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use utoipa::openapi::path::Operation;
use utoipa::openapi::{Content, RefOr};

/// What was recorded, by operation.
const RECORDED: &str = include_str!("../../openapi/examples.json");
/// Under this name: answers that are errors, which any operation may give.
const ERRORS: &str = "errors";

#[derive(Default, Deserialize)]
struct Example {
    #[serde(default)]
    request: Option<Value>,
    responses: BTreeMap<String, Value>,
}

/// All examples.
pub(super) struct Examples(BTreeMap<String, Example>);

impl Examples {
    /// Reads them. Where the file is broken there are none, which its test finds.
    pub(super) fn read() -> Self {
        Self(serde_json::from_str(RECORDED).unwrap_or_default())
    }

    /// Gives an operation those that it has none of its own for.
    pub(super) fn add(&self, operation: &mut Operation) {
        let own = operation.operation_id.as_ref().and_then(|id| self.0.get(id));
        if let (Some(RefOr::T(body)), Some(example)) = (
            &mut operation.request_body,
            own.and_then(|own| own.request.as_ref()),
        ) {
            show(&mut body.content, example);
        }
        for (status, response) in &mut operation.responses.responses {
            let mut known = own.into_iter().chain(self.0.get(ERRORS));
            let example = known.find_map(|known| known.responses.get(status));
            if let (RefOr::T(response), Some(example)) = (response, example) {
                show(&mut response.content, example);
            }
        }
    }
}

fn show<'a>(contents: impl IntoIterator<Item = (&'a String, &'a mut RefOr<Content>)>, example: &Value) {
    for (kind, content) in contents {
        if let (true, RefOr::T(content)) = (kind == "application/json", content) {
            content.example.get_or_insert_with(|| example.clone());
        }
    }
}
