//! A JSON object taken apart into its known fields, each still as the text that came.
//!
//! Fields are read one by one so that every error can name its field: `2^64`, a lone surrogate or the wrong type is a
//! fault of that field, not of the frame. What is unknown is skipped without being built, whatever its size or depth.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, Visitor},
};
use serde_json::value::RawValue;

use super::error::{ErrorCode, Reject};

/// The known fields of one JSON object. `N` is the number of names asked for.
pub(super) struct Fields<'a, const N: usize> {
    names: &'static [&'static str; N],
    values: [Option<&'a RawValue>; N],
    duplicate: Option<&'static str>,
}

impl<'a, const N: usize> Fields<'a, N> {
    /// Splits `text`; [`ErrorCode::InvalidJson`] when it is not one JSON object.
    pub(super) fn split(text: &'a str, names: &'static [&'static str; N]) -> Result<Self, Reject> {
        let mut fields = Self {
            names,
            values: [None; N],
            duplicate: None,
        };
        let mut parser = serde_json::Deserializer::from_str(text);
        parser
            .deserialize_map(Split(&mut fields))
            .and_then(|()| parser.end())
            .map_err(|error| not_an_object(text, &error))?;
        Ok(fields)
    }

    /// The first known field that came twice. Which of the two the sender meant cannot be told.
    pub(super) fn refuse_duplicates(&self) -> Result<(), Reject> {
        match self.duplicate {
            None => Ok(()),
            Some(name) => Err(given_twice(name)),
        }
    }

    fn raw(&self, name: &'static str) -> Option<&'a RawValue> {
        let index = self.names.iter().position(|&known| known == name)?;
        self.values[index].filter(|value| value.get() != "null")
    }

    /// The field as text; `Ok(None)` when it is absent or null.
    pub(super) fn text(&self, name: &'static str) -> Result<Option<Cow<'a, str>>, Reject> {
        let Some(raw) = self.raw(name) else {
            return Ok(None);
        };
        if !raw.get().starts_with('"') {
            return Err(Reject::invalid(name, format!("{name} must be a string")));
        }
        // A borrowed string where the text has no escapes, which is nearly always.
        match serde_json::from_str::<Text<'a>>(raw.get()) {
            Ok(text) => Ok(Some(text.0)),
            Err(_) => Err(Reject::invalid(
                name,
                format!("{name} is not valid Unicode (a lone surrogate?)"),
            )),
        }
    }

    /// The field as a list of at most `most` texts; `Ok(None)` when it is absent or null.
    pub(super) fn texts(
        &self,
        name: &'static str,
        most: usize,
    ) -> Result<Option<Vec<Cow<'a, str>>>, Reject> {
        let Some(raw) = self.raw(name) else {
            return Ok(None);
        };
        let Ok(texts) = serde_json::from_str::<Vec<Text<'a>>>(raw.get()) else {
            return Err(Reject::invalid(
                name,
                format!("{name} must be a list of strings"),
            ));
        };
        if texts.len() > most {
            return Err(Reject::invalid(
                name,
                format!(
                    "{name} has {} entries; at most {most} are allowed",
                    texts.len()
                ),
            ));
        }
        Ok(Some(texts.into_iter().map(|text| text.0).collect()))
    }

    /// The field as an integer in `range`; `Ok(None)` when it is absent or null.
    pub(super) fn integer(
        &self,
        name: &'static str,
        range: std::ops::RangeInclusive<i64>,
    ) -> Result<Option<i64>, Reject> {
        let Some(raw) = self.raw(name) else {
            return Ok(None);
        };
        let number = raw
            .get()
            .parse::<i64>()
            .ok()
            .filter(|number| range.contains(number));
        number.map(Some).ok_or_else(|| out_of_range(name, &range))
    }

    /// Whether the field is there and not null.
    pub(super) fn is_present(&self, name: &'static str) -> bool {
        self.raw(name).is_some()
    }

    /// Whether the field is there and begins as a string.
    pub(super) fn is_text(&self, name: &'static str) -> bool {
        self.raw(name).is_some_and(|raw| raw.get().starts_with('"'))
    }
}

/// The error for a field that must be there.
pub(super) fn missing(name: &'static str) -> Reject {
    Reject::invalid(name, format!("{name} is missing"))
}

/// The error for a field that came more than once.
pub(super) fn given_twice(name: &'static str) -> Reject {
    Reject::invalid(name, format!("{name} is given twice: send it once"))
}

/// The error for what is no integer in `range`.
pub(super) fn out_of_range(name: &'static str, range: &std::ops::RangeInclusive<i64>) -> Reject {
    let (least, most) = (range.start(), range.end());
    Reject::invalid(
        name,
        format!("{name} must be an integer from {least} to {most}"),
    )
}

#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

fn not_an_object(text: &str, error: &serde_json::Error) -> Reject {
    let message = if text.starts_with('\u{FEFF}') {
        "the text begins with a byte order mark: send plain UTF-8".into()
    } else if error.is_data() {
        "this is JSON but no object: send one like {\"type\":\"ping\"}".into()
    } else {
        // Only the position: the parser's own words may quote what was sent.
        format!(
            "this is no JSON object (it breaks at line {}, column {})",
            error.line(),
            error.column()
        )
    };
    Reject::new(ErrorCode::InvalidJson, message)
}

struct Split<'f, 'a, const N: usize>(&'f mut Fields<'a, N>);

impl<'a, const N: usize> Visitor<'a> for Split<'_, 'a, N> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<M: MapAccess<'a>>(self, mut map: M) -> Result<(), M::Error> {
        while let Some(Text(key)) = map.next_key()? {
            let Some(index) = self.0.names.iter().position(|&known| known == key) else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let value = map.next_value::<&RawValue>()?;
            if self.0.values[index].replace(value).is_some() {
                self.0.duplicate.get_or_insert(self.0.names[index]);
            }
        }
        Ok(())
    }
}
