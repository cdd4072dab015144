//! Names and texts of others on a terminal: they can neither steer it nor reorder what stands beside them. What this does
//! not do is tell look-alike letters apart.

/// The text on one line, as a part of a longer one. What could steer the terminal or leave the part is written as its escape, and
/// the reading direction of what remains ends with it.
pub fn isolated(text: &str) -> String {
    if text.is_ascii() {
        return escaped(text, char::is_control);
    }
    const FIRST_STRONG_ISOLATE: char = '\u{2068}';
    const POP_ISOLATE: char = '\u{2069}';
    let text = escaped(text, |c| c.is_control() || reorders(c));
    format!("{FIRST_STRONG_ISOLATE}{text}{POP_ISOLATE}")
}

/// The last gate before the terminal, for a whole line: whatever was forgotten before, no control character passes.
pub fn harmless(line: &str) -> String {
    escaped(line, char::is_control)
}

/// Embeddings, overrides and isolates, and what ends a line or a paragraph without being a control character.
/// The marks (U+200E, U+200F, U+061C) and the joiners of emoji stay: within an isolate they do no harm.
fn reorders(c: char) -> bool {
    matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}')
}

fn escaped(text: &str, dangerous: impl Fn(char) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match dangerous(c) {
            true => out.extend(c.escape_default()),
            false => out.push(c),
        }
    }
    out
}
