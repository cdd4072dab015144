//! What became of sends: acknowledged means stored, once, as it was said; a nonce is one message.

use std::collections::{HashMap, HashSet};

use super::{
    Attempt, Facts, Verdict, histories, must,
    trace::{Where, origin_of},
};

/// What was acknowledged is there, as it was said and as the acknowledgement has it, and in every history that was
/// asked for later.
pub(super) fn lost(case: &Facts<'_>) -> Verdict {
    for attempt in &case.attempts {
        let Some(ack) = attempt.ack() else { continue };
        let context = || format!("{:?} acknowledged as {ack:?}", attempt.content);
        let era = case.era(attempt.trace);
        let Some(row) = era.row(ack.id) else {
            return Err(format!("{} is not stored", context()));
        };
        let is_it = row.from == attempt.trace.user
            && row.content == attempt.content
            && row.place == *attempt.place
            && ack.place == *attempt.place
            && (row.seq, &row.timestamp) == (ack.seq, &ack.timestamp)
            && row.nonce.as_deref() == attempt.nonce
            && ack.nonce.as_deref() == attempt.nonce;
        must(is_it, || format!("{} is stored as {row:?}", context()))?;
    }
    histories::exact(case)
}

/// Of each send there is at most one row; of those with one nonce all acknowledgements agree, and exactly one of them is
/// the first.
pub(super) fn dup(case: &Facts<'_>) -> Verdict {
    for era in &case.eras {
        let (mut sends, mut nonces) = (HashMap::new(), HashMap::new());
        for row in &era.rows {
            if let Some((.., number)) = origin_of(&row.content)
                && let Some(before) = sends.insert(number, row.id)
            {
                return Err(format!("{row:?} was stored before, as {before}"));
            }
            if let Some(nonce) = &row.nonce
                && let Some(before) = nonces.insert((row.from, nonce), row.id)
            {
                return Err(format!("{row:?} has the nonce of {before}"));
            }
        }
    }
    let mut by_nonce: HashMap<(usize, i64, &str), Vec<Attempt<'_>>> = HashMap::new();
    for attempt in &case.attempts {
        match attempt.nonce {
            Some(nonce) => {
                let key = (attempt.trace.era, attempt.trace.user, nonce);
                by_nonce.entry(key).or_default().push(attempt.clone());
            }
            None => must(attempt.ack().is_none_or(|ack| !ack.duplicate), || {
                format!("{:?} bore no nonce and is a duplicate", attempt.content)
            })?,
        }
    }
    for ((era, user, nonce), attempts) in by_nonce {
        let context = |what: &str| format!("{what}: nonce {nonce:?} of user {user}");
        one_message(case, era, &attempts).map_err(|what| context(&what))?;
    }
    Ok(())
}

fn one_message(case: &Facts<'_>, era: usize, attempts: &[Attempt<'_>]) -> Verdict {
    let acks: Vec<_> = attempts.iter().filter_map(Attempt::ack).collect();
    let ids: HashSet<i64> = acks.iter().map(|ack| ack.id).collect();
    must(ids.len() <= 1, || format!("acknowledged as {ids:?}"))?;
    let first: Vec<&Attempt<'_>> = attempts
        .iter()
        .filter(|attempt| attempt.ack().is_some_and(|ack| !ack.duplicate))
        .collect();
    must(first.len() <= 1, || {
        format!("acknowledged as new {} times", first.len())
    })?;
    if let Some(first) = first.first() {
        let said = first.said;
        let earlier =
            |a: &&Attempt<'_>| a.ack().is_some() && a.answer.is_some_and(|(at, _)| at < said);
        must(!attempts.iter().any(|a| earlier(&a)), || {
            "acknowledged as new after it had been acknowledged".into()
        })?;
    }
    let Some(&id) = ids.iter().next() else {
        return Ok(());
    };
    let inherited = case.eras[era].rows[..case.eras[era].inherited]
        .iter()
        .any(|row| row.id == id);
    let row = case.eras[era].row(id);
    // Who stored it: an attempt that said the same. If each of those was answered, one of them was the first.
    let mut same = attempts
        .iter()
        .filter(|a| row.is_some_and(|row| row.content == a.content && row.place == *a.place));
    let all_answered = same.all(|attempt| attempt.answer.is_some());
    let expected = usize::from(!inherited);
    must(!all_answered || first.len() == expected, || {
        format!("all answered, {} as new, {expected} expected", first.len())
    })?;
    for attempt in attempts {
        let differs =
            row.is_some_and(|row| row.content != attempt.content || row.place != *attempt.place);
        let after_it = attempts
            .iter()
            .any(|a| a.ack().is_some() && a.answer.is_some_and(|(at, _)| at < attempt.said));
        if let (true, true, Some(code)) = (differs, after_it, attempt.error()) {
            let may = [
                "nonce_reused",
                "storage_full",
                "rate_limited",
                "user_not_found",
                "unavailable",
            ];
            must(may.contains(&code), || {
                format!("another content was answered with {code}")
            })?;
        }
    }
    Ok(())
}

/// Contents and places of attempts of which the client was told that nothing was stored, and of no other attempt.
pub(super) fn refused<'a>(case: &'a Facts<'_>) -> HashSet<(usize, i64, &'a str, &'a Where)> {
    let (mut refused, mut open) = (HashSet::new(), HashSet::new());
    for attempt in &case.attempts {
        let trace = attempt.trace;
        let key = (trace.era, trace.user, attempt.content, attempt.place);
        match attempt.error() {
            Some(_) => refused.insert(key),
            None => open.insert(key),
        };
    }
    &refused - &open
}
