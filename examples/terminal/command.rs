//! What a typed line means. Whether it can be done is not known here.

/// What a line asks for.
#[derive(Debug, PartialEq)]
pub enum Command<'a> {
    /// To whoever the current conversation is with.
    Say(&'a str),
    Join(&'a str),
    Leave,
    /// With text: says it there. Without: makes it the current conversation.
    Dm(u64, Option<&'a str>),
    History,
    Who,
    Rooms,
    Help,
    Quit,
    Nothing,
    Unclear(&'static str),
}

pub const HELP: &str = "\
/join ROOM      go to a room, and read what is unread in it
/leave          leave this room, or this conversation
/dm ID          talk to the user with this id; /dm ID TEXT says one thing
/history        what was said before what is shown
/who            who is connected
/rooms          the rooms, and what is unread in those that you have joined
/quit           leave the chat; the end of the input does so once everything is stored
//TEXT          says TEXT with one slash";

/// Everything that does not begin with a slash is said, and so is what begins with two, less one.
pub fn parse(line: &str) -> Command<'_> {
    let line = line.trim_end_matches(['\r', '\n']);
    let Some(command) = line.strip_prefix('/').filter(|rest| !rest.starts_with('/')) else {
        let text = line.strip_prefix('/').unwrap_or(line);
        return match text.trim() {
            "" => Command::Nothing,
            _ => Command::Say(text),
        };
    };
    let (verb, rest) = command
        .split_once(char::is_whitespace)
        .unwrap_or((command, ""));
    let rest = rest.trim();
    match (verb, rest) {
        ("join" | "j", "") => Command::Unclear("which room? /join ROOM"),
        ("join" | "j", room) => Command::Join(room.strip_prefix('#').unwrap_or(room)),
        ("leave", _) => Command::Leave,
        ("dm" | "d", rest) => dm(rest),
        ("history" | "h", _) => Command::History,
        ("who" | "w", _) => Command::Who,
        ("rooms", _) => Command::Rooms,
        ("help" | "?", _) => Command::Help,
        ("quit" | "q", _) => Command::Quit,
        _ => Command::Unclear("no such command: /help lists them"),
    }
}

fn dm(rest: &str) -> Command<'_> {
    let (id, text) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    match id.parse() {
        Ok(id) => Command::Dm(id, Some(text.trim()).filter(|text| !text.is_empty())),
        Err(_) => Command::Unclear("to whom? /dm ID TEXT; /who shows the ids"),
    }
}
