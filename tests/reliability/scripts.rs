//! The scripts of the model again: over the whole server behind sockets, and over the executable, which is killed.

use proptest::{
    strategy::{Strategy as _, ValueTree as _},
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};

use crate::{
    common::on_postgres,
    figure,
    oracle::{report::report, violations},
    play::{
        core::SMALL,
        link::World,
        player::Player,
        script::{Op, scripts},
        socket::{BinaryWorld, ServerWorld},
    },
};

const STEPS: usize = 60;

/// The same scripts each time; `kind` tells one test's from another's.
fn drawn(kind: u8, count: usize) -> Vec<Vec<Op>> {
    let rng = TestRng::from_seed(RngAlgorithm::XorShift, &[kind; 16]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let strategy = scripts(STEPS);
    let script = |_| strategy.new_tree(&mut runner).unwrap().current();
    (0..count).map(script).collect()
}

async fn play(world: impl World, number: usize, ops: &[Op]) {
    let player = Player::new(world, SMALL.resume_max as usize).await;
    let (case, _) = player.play(ops).await;
    let violations = violations(&case);
    let is_clean = violations.is_empty();
    assert!(
        is_clean,
        "script {number}, {ops:?}{}",
        report(&case, &violations)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_script_over_sockets_keeps_every_promise() {
    // Each begins with a database of its own, where it is not a file.
    let scripts = drawn(1, figure(if on_postgres() { 15 } else { 40 }, 1_000));
    for (number, ops) in scripts.iter().enumerate() {
        play(ServerWorld::new().await, number, ops).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_script_over_the_executable_keeps_every_promise_through_kills() {
    let scripts = drawn(2, figure(12, 500));
    for (number, ops) in scripts.iter().enumerate() {
        play(BinaryWorld::new().await, number, ops).await;
    }
}

#[cfg(feature = "postgres")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_script_over_sockets_gets_the_same_answers_from_a_file_and_from_postgres() {
    use crate::play::{
        kept::Kept,
        stored::Shifted,
        transcript::{difference, transcript},
    };
    if !crate::common::databases::can_be_made() {
        return;
    }
    let limit = SMALL.resume_max as usize;
    for (number, ops) in drawn(3, figure(8, 500)).iter().enumerate() {
        let file = ServerWorld::at(Shifted::standing(), Kept::file()).await;
        let (_, file, heard) = transcript(file, limit, ops).await;
        let tables = ServerWorld::at(Shifted::standing(), Kept::tables()).await;
        let (_, tables, also_heard) = transcript(tables, limit, ops).await;
        if let Some(told) = difference(&heard, &also_heard) {
            panic!("script {number}, {ops:?}: {told}");
        }
        file.stop().await;
        tables.stop().await;
    }
}
