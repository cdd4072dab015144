//! The frames as JSON Schema (2020-12), for the descriptions that are served: what a client may build on.
//!
//! One source, no second opinion: what the server writes is described by the very types that are written, and every limit
//! is the constant that is checked. What a client sends is read by hand, so it is described by hand in `requests`, and a
//! test lets both judge the same frames. Documents and transports are not known here.

mod examples;
mod frames;
mod requests;
mod values;

use schemars::{JsonSchema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

pub use examples::{Exchange, conversation};
pub use frames::{ServerFrame, server_frames};
pub use requests::{RequestFrame, request_frames};
pub use values::{DirectMessage, RoomMessage};

use super::{
    Limits,
    error::{CloseCode, ErrorCode},
};

/// Collects the schemas that a document refers to.
#[derive(Debug)]
pub struct Schemas {
    generator: SchemaGenerator,
    limits: Limits,
}

impl Schemas {
    /// None yet; `limits` are those in force.
    pub fn new(limits: &Limits) -> Self {
        let settings = SchemaSettings::draft2020_12().for_serialize().with(|set| {
            set.definitions_path = "/components/schemas".into();
            set.meta_schema = None;
        });
        Self {
            generator: settings.into_generator(),
            limits: limits.clone(),
        }
    }

    /// The limits in force.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// A reference to the schema of `T`, which the document will hold.
    pub fn of<T: JsonSchema + ?Sized>(&mut self) -> Value {
        self.generator.subschema_for::<T>().to_value()
    }

    /// The schema of `T` itself, for the one place that it belongs to.
    fn inline<T: JsonSchema + ?Sized>(&mut self) -> Value {
        let mut schema = T::json_schema(&mut self.generator).to_value();
        simplify(&mut schema);
        schema
    }

    /// A reference to the inside of an error, the same in a frame and over HTTP.
    pub fn error(&mut self) -> Value {
        frames::error_body(self)
    }

    /// `limit`, `before` and `after` of a history, as fields or as parameters.
    pub fn window(&mut self) -> [(&'static str, Value); 3] {
        requests::window(self)
    }

    /// All that was referred to, by name.
    pub fn into_components(mut self) -> Map<String, Value> {
        let mut components = self.generator.take_definitions(false);
        for schema in components.values_mut() {
            simplify(schema);
        }
        if let Some(content) = components.get_mut("Content") {
            // A character takes at least one byte.
            content["maxLength"] = json!(self.limits.content_bytes);
            content["description"] = json!(format!(
                "At most {} bytes of UTF-8, not blank, without U+0000; stored and returned byte for byte.",
                self.limits.content_bytes
            ));
        }
        components
    }
}

/// What older tools understand as well: a list of constants becomes an `enum`, what stands beside a `$ref` wraps it, an
/// optional field is left out rather than null, and the sizes of Rust's integers are nobody's concern.
fn simplify(schema: &mut Value) {
    if let Value::Array(items) = schema {
        items.iter_mut().for_each(simplify);
    }
    let Value::Object(object) = schema else {
        return;
    };
    object.values_mut().for_each(simplify);
    let format = object.get("format").and_then(Value::as_str);
    if format.is_some_and(|format| format.contains("int")) {
        object.remove("format");
    }
    if let Some(variants) = constants(object) {
        let (names, lines): (Vec<_>, Vec<_>) = variants.into_iter().unzip();
        object.remove("oneOf");
        object.insert("type".into(), json!("string"));
        object.insert("enum".into(), json!(names));
        let about = object.get("description").and_then(Value::as_str);
        let about = format!("{}\n\n{}", about.unwrap_or_default(), lines.join("\n"));
        object.insert("description".into(), json!(about.trim()));
    }
    if object.len() > 1
        && let Some(target) = object.remove("$ref")
    {
        object.insert("allOf".into(), json!([{ "$ref": target }]));
    }
    leave_out_rather_than_null(object);
}

/// The constants of a `oneOf` that has nothing else, each with its line of documentation.
fn constants(object: &Map<String, Value>) -> Option<Vec<(String, String)>> {
    let variants = object.get("oneOf")?.as_array()?;
    let read = |variant: &Value| {
        let name = variant.get("const")?.as_str()?.to_owned();
        let line = variant.get("description")?.as_str()?.replace('\n', " ");
        Some((name.clone(), format!("- `{name}`: {line}")))
    };
    variants.iter().map(read).collect()
}

fn leave_out_rather_than_null(object: &mut Map<String, Value>) {
    let required = object.get("required").cloned().unwrap_or(json!([]));
    let Some(Value::Object(properties)) = object.get_mut("properties") else {
        return;
    };
    let is_required = |name: &str| {
        required
            .as_array()
            .is_some_and(|names| names.iter().any(|known| known == name))
    };
    for (_, property) in properties.iter_mut().filter(|(name, _)| !is_required(name)) {
        if let Some(Value::Array(kinds)) = property.get_mut("type") {
            kinds.retain(|kind| kind != "null");
            if let [kind] = &kinds[..] {
                property["type"] = kind.clone();
            }
        }
        if let Some(Value::Array(choices)) = property.get_mut("anyOf") {
            choices.retain(|choice| choice["type"] != "null");
            if let [choice] = &choices[..] {
                let (choice, about) = (choice.clone(), property.get("description").cloned());
                *property = match about {
                    Some(about) => json!({ "allOf": [choice], "description": about }),
                    None => choice,
                };
            }
        }
    }
}

/// An object of named fields: `(name, schema)`, of which `optional` may be left out.
fn object(fields: Vec<(&'static str, Value)>, optional: &[&str]) -> Value {
    let required: Vec<&str> = fields
        .iter()
        .map(|(name, _)| *name)
        .filter(|name| !optional.contains(name))
        .collect();
    let properties: Map<String, Value> = fields
        .into_iter()
        .map(|(name, schema)| (name.to_owned(), schema))
        .collect();
    json!({ "type": "object", "properties": properties, "required": required })
}

/// What the registry says of each variant of `T`, in its order: `(name, documentation)`.
fn registry<T: JsonSchema>() -> Vec<(String, String)> {
    let schema = T::json_schema(&mut SchemaGenerator::default()).to_value();
    let Some(Value::Array(variants)) = schema.get("oneOf").cloned() else {
        return Vec::new();
    };
    let text = |variant: &Value, key: &str| {
        let text = variant.get(key).and_then(Value::as_str);
        text.unwrap_or_default().replace('\n', " ")
    };
    variants
        .iter()
        .map(|variant| (text(variant, "const"), text(variant, "description")))
        .collect()
}

/// Every error code with when it is sent and what to do then.
pub fn error_codes() -> Vec<(ErrorCode, String)> {
    let lines = registry::<ErrorCode>().into_iter().map(|(_, line)| line);
    ErrorCode::ALL.into_iter().zip(lines).collect()
}

/// Every close code with when it is sent and what to do then.
pub fn close_codes() -> Vec<(CloseCode, String)> {
    let lines = registry::<CloseCode>().into_iter().map(|(_, line)| line);
    CloseCode::ALL.into_iter().zip(lines).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registries_bear_their_documentation() {
        for (code, line) in error_codes() {
            assert!(
                line.starts_with("When: ") && line.contains(" Do: "),
                "{code:?}: {line}"
            );
        }
        let names = registry::<ErrorCode>().into_iter().map(|(name, _)| name);
        assert!(names.eq(ErrorCode::ALL.map(ErrorCode::as_str)));
        let names = registry::<CloseCode>().into_iter().map(|(name, _)| name);
        assert!(names.eq(CloseCode::ALL.map(|code| format!("{code:?}"))));
        assert!(close_codes().iter().all(|(_, line)| line.contains(" Do: ")));
    }
}
