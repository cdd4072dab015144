//! Whether two sides hold the same: both are read to their ends, row by row, and counted and summed each for itself.

use std::{cmp::Ordering, collections::VecDeque};

use super::{End, Facts, Kind, PAGE, Progress, Row, Source, Step, TransferError, digest::Digest};

/// What a side holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Messages.
    pub messages: u64,
    /// Users, accounts among them.
    pub users: u64,
    /// Built-in accounts.
    pub accounts: u64,
    /// Rooms.
    pub rooms: u64,
    /// Pairs of users who talked.
    pub pairs: u64,
    /// Messages that somebody outside refused.
    pub parked: u64,
    /// SHA-256 over every field of every row.
    pub checksum: String,
}

/// Reads both sides. `Ok(Err(…))`: in what they differ, in words.
pub(super) async fn compare(
    source: &mut dyn Source,
    target: &mut dyn Source,
    facts: &Facts,
    watch: &mut (dyn FnMut(Progress) + Send),
) -> Result<Result<Tally, String>, TransferError> {
    let found = target.facts().await.map_err(|fault| fault.at(End::To))?;
    if let Err(difference) = judge(facts, &found) {
        return Ok(Err(difference));
    }
    let shared = target.is_shared();
    let (mut ours, mut theirs) = (Count::default(), Count::default());
    ours.digest.facts(facts);
    theirs.digest.facts(&found);
    let mut first = None;
    for kind in Kind::ALL {
        let mut left = Reader::new(source, kind, End::From, shared);
        let mut right = Reader::new(target, kind, End::To, shared);
        loop {
            let order = match (left.next().await?, right.next().await?) {
                (None, None) => break,
                (Some(left), Some(right)) => left.order(right),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
            };
            let (row, twin) = match order {
                Ordering::Less => (left.take(), None),
                Ordering::Equal => (left.take(), right.take()),
                Ordering::Greater => (None, right.take()),
            };
            // Other programs' users and rooms are theirs.
            if row.is_none() && shared && matches!(kind, Kind::Users | Kind::Rooms) {
                continue;
            }
            if first.is_none() && row != twin {
                first = difference(row.as_ref(), twin.as_ref());
            }
            ours.add(row.as_ref());
            theirs.add(twin.as_ref());
            if ours.tally.messages % PAGE as u64 == 0 {
                watch(Progress {
                    step: Step::Comparing,
                    done: ours.tally.messages,
                    of: facts.messages,
                });
            }
        }
    }
    watch(Progress {
        step: Step::Comparing,
        done: ours.tally.messages,
        of: facts.messages,
    });
    let (ours, theirs) = (ours.finish(), theirs.finish());
    Ok(match first {
        None if ours == theirs => Ok(ours),
        first => Err(format!(
            "{}; FROM has {} messages and the checksum {}, TO has {} and {}",
            first.as_deref().unwrap_or("the checksums differ"),
            ours.messages,
            &ours.checksum[..16],
            theirs.messages,
            &theirs.checksum[..16],
        )),
    })
}

fn difference(row: Option<&Row>, twin: Option<&Row>) -> Option<String> {
    match (row, twin) {
        (Some(row), Some(_)) => Some(format!("{row} is not the same on both sides")),
        (Some(row), None) => Some(format!("{row} is in FROM and not in TO")),
        (None, Some(twin)) => Some(format!("{twin} is in TO and not in FROM")),
        (None, None) => None,
    }
}

/// What stands beside the rows.
fn judge(ours: &Facts, theirs: &Facts) -> Result<(), String> {
    if ours.epoch != theirs.epoch {
        return Err("the epochs differ".into());
    }
    if ours.last != theirs.last {
        return Err(format!(
            "FROM has come to position {}, TO to {}",
            ours.last, theirs.last
        ));
    }
    if ours.mode != theirs.mode {
        return Err(format!(
            "FROM is in {} mode, TO in {} mode",
            ours.mode.as_str(),
            theirs.mode.as_str()
        ));
    }
    let mine = ours
        .followers
        .iter()
        .map(|it| (it.follower, it.position, &it.failing));
    let other = theirs
        .followers
        .iter()
        .map(|it| (it.follower, it.position, &it.failing));
    if !mine.eq(other) {
        return Err("how far the copies for other servers have come differs".into());
    }
    match ours.secrets == theirs.secrets {
        true => Ok(()),
        false => Err("the kept secrets differ".into()),
    }
}

/// One side, a page at a time.
struct Reader<'a> {
    side: &'a mut dyn Source,
    kind: Kind,
    end: End,
    shared: bool,
    page: VecDeque<Row>,
    last: Option<Row>,
    ended: bool,
}

impl<'a> Reader<'a> {
    fn new(side: &'a mut dyn Source, kind: Kind, end: End, shared: bool) -> Self {
        Self {
            side,
            kind,
            end,
            shared,
            page: VecDeque::new(),
            last: None,
            ended: false,
        }
    }

    async fn next(&mut self) -> Result<Option<&Row>, TransferError> {
        if self.page.is_empty() && !self.ended {
            let page = self.side.page(self.kind, self.last.as_ref(), PAGE).await;
            let page = page.map_err(|fault| fault.at(self.end))?;
            self.ended = page.is_empty();
            self.last = page.last().cloned();
            self.page = page.into();
        }
        Ok(self.page.front())
    }

    fn take(&mut self) -> Option<Row> {
        let row = self.page.pop_front();
        match self.shared {
            true => row.map(Row::ours),
            false => row,
        }
    }
}

/// What was counted so far.
struct Count {
    tally: Tally,
    digest: Digest,
}

impl Default for Count {
    fn default() -> Self {
        Self {
            tally: Tally::default(),
            digest: Digest::new(),
        }
    }
}

impl Count {
    fn add(&mut self, row: Option<&Row>) {
        let Some(row) = row else { return };
        self.digest.row(row);
        let tally = &mut self.tally;
        match row {
            Row::User(user) => {
                tally.users += 1;
                tally.accounts += u64::from(user.account.is_some());
            }
            Row::Room(_) => tally.rooms += 1,
            Row::Pair(_) => tally.pairs += 1,
            Row::Message(_) => tally.messages += 1,
            Row::Parked(..) => tally.parked += 1,
        }
    }

    fn finish(self) -> Tally {
        Tally {
            checksum: self.digest.finish(),
            ..self.tally
        }
    }
}
