//! The habits of this house, held by a test: what the compiler cannot check, and what nobody should have to remember.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// The layers, from the bottom. A module imports from its own layer and from those below.
const LAYERS: [&[&str]; 7] = [
    &["protocol", "clock", "metrics", "outbound", "seeded"],
    &["frame", "auth", "store"],
    &["hub", "relay", "authority"],
    &["chat", "stats"],
    &["session"],
    &["http", "sync"],
    &["config", "server", "commands", "telemetry", "main"],
];

/// What a module must not know: the words that would show that it does.
const MUST_NOT_KNOW: [(&str, &[&str]); 13] = [
    (
        "protocol",
        &["tokio", "rusqlite", "axum", "hyper", "Instant"],
    ),
    ("frame", &["tokio", "rusqlite", "axum"]),
    ("auth", &["tokio", "rusqlite", "axum"]),
    ("outbound", &["rusqlite", "axum", "serde_json"]),
    ("authority", &["rusqlite", "axum"]),
    ("store", &["axum", "hyper", "tungstenite", "serde_json"]),
    (
        "hub",
        &["serde_json", "rusqlite", "axum", "Instant", "Timestamp"],
    ),
    (
        "relay",
        &["serde_json", "rusqlite", "axum", "Instant", "Timestamp"],
    ),
    (
        "chat",
        &["axum", "rusqlite", "StatusCode", "tungstenite", "hyper"],
    ),
    (
        "stats",
        &["axum", "rusqlite", "StatusCode", "tungstenite", "hyper"],
    ),
    (
        "session",
        &["axum", "rusqlite", "StatusCode", "tungstenite", "hyper"],
    ),
    ("http", &["rusqlite", "sqlite"]),
    ("sync", &["rusqlite", "sqlite", "axum", "tungstenite"]),
];

/// A source file: its path under the root, and its lines without comments and without its unit tests.
struct Source {
    path: PathBuf,
    code: Vec<String>,
    text: String,
}

impl Source {
    /// The top-level module that the file belongs to.
    fn module(&self) -> &str {
        let inside = self.path.strip_prefix("src").unwrap();
        inside
            .components()
            .next()
            .unwrap()
            .as_os_str()
            .to_str()
            .unwrap()
            .trim_end_matches(".rs")
    }

    fn find(&self, word: &str) -> Option<String> {
        let line = self.code.iter().position(|line| has_word(line, word))?;
        Some(format!(
            "{}: {}",
            self.path.display(),
            self.code[line].trim()
        ))
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true if path.ends_with("node_modules") => {}
                true => folders.push(path),
                false if path.to_string_lossy().ends_with(ending) => found.push(path),
                false => {}
            }
        }
    }
    found.sort();
    found
}

fn sources(folder: &str) -> Vec<Source> {
    files(folder, ".rs").into_iter().map(source).collect()
}

fn source(path: PathBuf) -> Source {
    let text = fs::read_to_string(&path).unwrap();
    let code = text.split("\n#[cfg(test)]\nmod tests").next().unwrap();
    let code = code
        .lines()
        .map(|line| line.split("//").next().unwrap().to_owned())
        .collect();
    Source {
        path: path.strip_prefix(root()).unwrap().to_owned(),
        code,
        text,
    }
}

/// Whether `word` stands in `line` by itself, not as a part of a longer name.
fn has_word(line: &str, word: &str) -> bool {
    let part_of_name = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        !line[..at].ends_with(part_of_name) && !line[at + word.len()..].starts_with(part_of_name)
    })
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|modules| modules.contains(&module))
}

/// The modules of this crate that the file names after `crate::`, in a path or in a group.
fn imports(source: &Source) -> Vec<String> {
    let code = source.code.join("\n");
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            None => found.push(leading_name(rest)),
            Some(group) => found.extend(group_members(group)),
        }
    }
    found.retain(|name| layer(name).is_some());
    found
}

fn leading_name(text: &str) -> String {
    text.chars()
        .take_while(|c| c.is_alphanumeric() || *c == '_')
        .collect()
}

/// The first name of each member of a `use` group, not of the groups within.
fn group_members(group: &str) -> Vec<String> {
    let (mut depth, mut members, mut member) = (0, Vec::new(), String::new());
    for c in group.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => members.push(std::mem::take(&mut member)),
            _ if depth == 0 => member.push(c),
            _ => {}
        }
    }
    members.push(member);
    members
        .iter()
        .map(|member| leading_name(member.trim()))
        .collect()
}

#[test]
fn layers_import_downward_only() {
    for source in sources("src")
        .iter()
        .filter(|source| source.module() != "lib")
    {
        let own = layer(source.module())
            .unwrap_or_else(|| panic!("{} has no layer", source.path.display()));
        for import in imports(source) {
            assert!(
                layer(&import).unwrap() <= own,
                "{} (layer {own}) imports {import}, which lies above it: move what they share down",
                source.path.display(),
            );
        }
    }
    let checked: usize = sources("src")
        .iter()
        .map(|source| imports(source).len())
        .sum();
    assert!(
        checked > 50,
        "only {checked} imports were found: has the way of writing them changed?"
    );
}

#[test]
fn nobody_knows_what_is_not_theirs_to_know() {
    for source in sources("src") {
        for (module, words) in MUST_NOT_KNOW {
            for word in words.iter().filter(|_| source.module() == module) {
                if let Some(found) = source.find(word) {
                    panic!("{module} must not know {word}: {found}");
                }
            }
        }
        for word in ["tokio_postgres", "deadpool_postgres"] {
            let outside = !source.path.starts_with("src/store/postgres");
            let found = source.find(word).filter(|_| outside);
            assert_eq!(found, None, "only store/postgres knows PostgreSQL");
        }
    }
}

#[test]
fn only_main_reads_the_environment_and_only_commands_print() {
    for source in sources("src") {
        let module = source.module();
        for word in ["env::var", "env::var_os", "env::vars"] {
            let found = source.find(word).filter(|_| module != "main");
            assert_eq!(found, None, "only main reads the environment");
        }
        for word in ["println!", "print!", "eprintln!", "eprint!", "dbg!"] {
            let printing = ["main", "commands", "telemetry"].contains(&module)
                || word == "println!" && module == "lib";
            let found = source.find(word).filter(|_| !printing);
            assert_eq!(found, None, "only main, commands and telemetry print");
        }
    }
}

#[test]
fn nothing_that_input_can_reach_unwraps() {
    for source in sources("src") {
        for part in [
            ".unwrap()",
            ".expect(",
            "unreachable!",
            "todo!",
            "unimplemented!",
            "panic!",
        ] {
            let line = source.code.iter().find(|line| line.contains(part));
            assert_eq!(line, None, "{} in {}", part, source.path.display());
        }
    }
}

#[test]
fn every_file_opens_with_its_law_and_fits_a_head() {
    const LINES_MAX: usize = 400;
    for source in sources("src")
        .iter()
        .chain(&sources("tests"))
        .chain(&sources("examples"))
    {
        let path = source.path.display();
        assert!(
            source.text.starts_with("//!"),
            "{path} does not say what it is for"
        );
        let lines = source.text.lines().count();
        let limit = if source.path.starts_with("src") {
            LINES_MAX
        } else {
            2 * LINES_MAX
        };
        assert!(
            lines <= limit,
            "{path} has {lines} lines: give a part of it a room of its own"
        );
    }
}

#[test]
fn tests_do_not_sleep_and_are_not_ignored() {
    for source in sources("tests") {
        for part in ["sleep(", "#[ignore"] {
            let line = source
                .code
                .iter()
                .find(|line| line.contains(part) && !line.contains('"'));
            assert_eq!(line, None, "{} in {}", part, source.path.display());
        }
    }
}

#[test]
fn every_method_of_storage_is_held_by_a_law() {
    let traits = ["src/store/mod.rs", "src/store/followers.rs"];
    let traits = traits.map(|path| source(root().join(path)).code).concat();
    let laws: Vec<String> = sources("tests/store")
        .into_iter()
        .map(|source| source.code.join("\n"))
        .collect();
    let laws = laws.concat();
    let methods: Vec<String> = traits
        .iter()
        .filter_map(|line| {
            line.strip_prefix("    fn ")?
                .split('(')
                .next()
                .map(str::to_owned)
        })
        .filter(|name| name != "poll" && name != "fmt")
        .collect();
    assert!(methods.len() >= 20, "{methods:?}");
    for method in methods {
        assert!(
            laws.contains(&format!(".{method}(")),
            "no law in tests/store calls {method}"
        );
    }
}

#[test]
fn every_error_code_is_documented_and_tested() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let tests: String = sources("tests")
        .into_iter()
        .map(|source| source.text)
        .collect();
    for code in chat_server::protocol::ErrorCode::ALL {
        let code = code.as_str();
        assert!(
            readme.contains(&format!("`{code}`")),
            "README.md does not say what {code} means"
        );
        assert!(
            tests.contains(&format!("\"{code}\"")),
            "no test produces {code}"
        );
    }
}

#[test]
fn the_readme_names_every_flag_that_short_help_shows() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let help = std::process::Command::new(env!("CARGO_BIN_EXE_chat-server"))
        .arg("-h")
        .output()
        .unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let flags: Vec<&str> = help
        .split_whitespace()
        .filter(|word| word.starts_with("--"))
        .collect();
    assert!(flags.len() > 8, "{flags:?}");
    for flag in flags {
        let flag = flag.trim_end_matches(|c: char| !c.is_alphanumeric());
        assert!(
            readme.contains(flag) || matches!(flag, "--help" | "--version"),
            "README.md does not name {flag}"
        );
    }
}

#[test]
fn dependencies_are_not_older_than_their_known_faults() {
    let lock = fs::read_to_string(root().join("Cargo.lock")).unwrap();
    let mut versions: BTreeMap<&str, Vec<Vec<u64>>> = BTreeMap::new();
    for package in lock.split("[[package]]").skip(1) {
        let field = |name: &str| {
            package
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(" = \""))
        };
        let (name, version) = (field("name").unwrap(), field("version").unwrap());
        let numbers = version
            .split(['.', '-', '+', '"'])
            .map_while(|part| part.parse().ok())
            .collect();
        versions
            .entry(name.trim_end_matches('"'))
            .or_default()
            .push(numbers);
    }
    assert_eq!(
        versions["libsqlite3-sys"].len(),
        1,
        "two SQLites in one program"
    );
    for (name, floor) in [
        ("jsonwebtoken", vec![10, 3, 0]),
        ("tungstenite", vec![0, 20, 1]),
        ("rust-embed", vec![6, 3, 0]),
        ("libsqlite3-sys", vec![0, 38, 0]),
    ] {
        assert!(
            versions[name].iter().all(|version| *version >= floor),
            "{name} {:?}",
            versions[name]
        );
    }
    for absent in ["rsa", "h2", "openssl-sys"] {
        assert!(!versions.contains_key(absent), "{absent} came in");
    }
    assert!(rusqlite::version_number() >= chat_server::store::sqlite::OLDEST_SQLITE);
}

#[test]
fn the_top_level_holds_what_a_rust_project_has() {
    let allowed = [
        "Cargo.toml",
        "Cargo.lock",
        "README.md",
        "LICENSE",
        "build.rs",
        "schema.sql",
        "src",
        "static",
        "tests",
        "examples",
        "benches",
        "target",
    ];
    for entry in fs::read_dir(root()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let is_data = name.starts_with("chat.db") || name.starts_with("demo.db");
        assert!(
            name.starts_with('.') || is_data || allowed.contains(&&*name),
            "{name} is not a place of this house"
        );
    }
}

#[test]
fn the_page_never_makes_html_of_data_and_keeps_tokens_to_the_tab() {
    for path in files("static", ".js") {
        let text = fs::read_to_string(&path).unwrap();
        for part in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "localStorage",
        ] {
            assert!(!text.contains(part), "{part} in {}", path.display());
        }
    }
    for path in files("static", ".html") {
        let text = fs::read_to_string(&path).unwrap();
        for part in [
            "<style",
            " style=",
            " onclick",
            "javascript:",
            "http://",
            "https://",
        ] {
            assert!(!text.contains(part), "{part} in {}", path.display());
        }
    }
}
