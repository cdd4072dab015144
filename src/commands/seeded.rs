//! The hidden flags of a test build: which mistake to make, and where to end. Says loudly that it is one.

use clap::Args;

use crate::seeded::{Bug, Step, Then, plan, sow};

/// What a test build takes besides.
#[derive(Args, Debug)]
pub struct SeededArgs {
    /// The mistake to make
    #[arg(long, hide = true, value_name = "NAME", value_parser = bug)]
    seeded_bug: Option<Bug>,
    /// The process ends when this step is taken for the N-th time
    #[arg(long, hide = true, value_name = "NAME[:N]", value_parser = step)]
    abort_at: Option<(Step, u32)>,
    /// Whoever takes this step for the N-th time never goes on
    #[arg(long, hide = true, value_name = "NAME[:N]", value_parser = step)]
    hold_at: Option<(Step, u32)>,
}

pub(super) fn arm(args: &SeededArgs) {
    eprintln!(
        "chat-server: THIS IS A TEST BUILD (feature seeded_bugs). It can lose messages on purpose: serve nobody with it."
    );
    sow(args.seeded_bug);
    if let Some((step, nth)) = args.abort_at {
        plan(step, nth, Then::Abort);
    }
    if let Some((step, nth)) = args.hold_at {
        plan(step, nth, Then::Hold);
    }
}

fn bug(name: &str) -> Result<Bug, String> {
    named(&Bug::ALL, name)
}

fn step(text: &str) -> Result<(Step, u32), String> {
    let (name, nth) = text.split_once(':').unwrap_or((text, "1"));
    let nth = nth
        .parse()
        .map_err(|_| format!("{nth:?} is no count: use NAME or NAME:3"))?;
    Ok((named(&Step::ALL, name)?, nth))
}

fn named<T: Copy>(all: &[(&str, T)], name: &str) -> Result<T, String> {
    let found = all.iter().find(|(known, _)| *known == name);
    found.map(|(_, it)| *it).ok_or_else(|| {
        let known: Vec<&str> = all.iter().map(|(known, _)| *known).collect();
        format!("not one of {}", known.join(", "))
    })
}
