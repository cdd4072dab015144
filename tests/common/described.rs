//! Whatever a test gets to see is as the server describes it: every frame and every answer is judged here, more strictly
//! than a client would, since a field that is not described is a fault too.

use std::{collections::HashMap, sync::OnceLock};

use chat_server::{http::Descriptions, protocol::Limits};
use jsonschema::Validator;
use serde_json::{Value, json};

/// The judges of one server's descriptions.
struct Judges {
    /// By `type`.
    frames: HashMap<String, Validator>,
    /// By method, path and status; `None` where the body is no JSON.
    answers: HashMap<(String, String, u16), Option<Validator>>,
    /// Every path with its methods.
    paths: Vec<(String, Vec<String>)>,
}

/// Panics when a frame of the server is not as it is described.
pub fn frame(text: &str) {
    let frame: Value = serde_json::from_str(text).unwrap();
    let kind = frame["type"].as_str().unwrap_or_default();
    let judge = judges().frames.get(kind);
    let judge = judge.unwrap_or_else(|| panic!("a frame that is not described: {text}"));
    judged(judge, &frame, text);
}

/// Panics when the answer to a request is not as it is described, where the path is.
pub fn answer(method: &str, path: &str, status: u16, body: &str) {
    let (path, method) = (path.split('?').next().unwrap(), method.to_lowercase());
    let known = judges()
        .paths
        .iter()
        .find(|(template, _)| fits(template, path));
    let Some((template, _)) = known.filter(|(_, methods)| methods.contains(&method)) else {
        return;
    };
    // No answer, or a full house.
    if status == 0 || status == 503 && body.is_empty() {
        return;
    }
    let key = (method.clone(), template.clone(), status);
    match judges().answers.get(&key) {
        None => panic!("{method} {path} answers {status}, which is not described: {body}"),
        Some(None) => {}
        Some(Some(judge)) => {
            let value =
                serde_json::from_str(body).unwrap_or_else(|error| panic!("{error} in {body:?}"));
            judged(judge, &value, &format!("{method} {path}: {status} {body}"));
        }
    }
}

fn judged(judge: &Validator, value: &Value, shown: &str) {
    let faults: Vec<String> = judge
        .iter_errors(value)
        .map(|fault| format!("{} at {:?}", fault, fault.instance_path().to_string()))
        .collect();
    assert!(
        faults.is_empty(),
        "not as described: {shown}\n{}",
        faults.join("\n")
    );
}

/// Whether `path` is one of those that `template` stands for.
pub fn fits(template: &str, path: &str) -> bool {
    let (mut wanted, mut given) = (template.split('/'), path.split('/'));
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return true,
            (Some(wanted), Some(given)) if wanted == given || wanted.starts_with('{') => {}
            _ => return false,
        }
    }
}

fn judges() -> &'static Judges {
    static JUDGES: OnceLock<Judges> = OnceLock::new();
    JUDGES.get_or_init(|| {
        // Some tests run servers with larger limits than the defaults.
        let limits = Limits {
            content_bytes: 1 << 30,
            history_default: 50,
            history_max: 500,
            history_bytes: 1 << 30,
            resume_rooms: 1 << 20,
        };
        let Descriptions { openapi, asyncapi } = Descriptions::new(&limits, 1 << 30);
        Judges {
            frames: frames(&asyncapi),
            answers: answers(&openapi),
            paths: paths(&openapi),
        }
    })
}

fn paths(openapi: &Value) -> Vec<(String, Vec<String>)> {
    let paths = openapi["paths"].as_object().unwrap().iter();
    paths
        .map(|(path, methods)| {
            (
                path.clone(),
                methods.as_object().unwrap().keys().cloned().collect(),
            )
        })
        .collect()
}

fn frames(asyncapi: &Value) -> HashMap<String, Validator> {
    let messages = asyncapi["components"]["messages"].as_object().unwrap();
    let from_the_server = messages.iter().filter(|(id, _)| id.ends_with("Frame"));
    from_the_server
        .map(|(_, message)| {
            let kind = message["name"].as_str().unwrap().to_owned();
            (kind, strict(&message["payload"], asyncapi))
        })
        .collect()
}

fn answers(openapi: &Value) -> HashMap<(String, String, u16), Option<Validator>> {
    let mut judges = HashMap::new();
    for (path, methods) in openapi["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            for (status, response) in operation["responses"].as_object().unwrap() {
                let schema = &response["content"]["application/json"]["schema"];
                let judge = schema.is_object().then(|| strict(schema, openapi));
                judges.insert(
                    (method.clone(), path.clone(), status.parse().unwrap()),
                    judge,
                );
            }
        }
    }
    judges
}

/// A judge that also refuses fields that `schema` does not name.
pub fn strict(schema: &Value, document: &Value) -> Validator {
    let mut root = schema.clone();
    close(&mut root);
    let mut components = document["components"]["schemas"].clone();
    close(&mut components);
    root["components"] = json!({ "schemas": components });
    jsonschema::options()
        .should_validate_formats(true)
        .build(&root)
        .unwrap()
}

fn close(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            object.values_mut().for_each(close);
            if object.get("type") == Some(&json!("object")) && object.contains_key("properties") {
                object.insert("additionalProperties".into(), json!(false));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(close),
        _ => {}
    }
}
