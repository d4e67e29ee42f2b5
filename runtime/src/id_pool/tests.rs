use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use super::*;

/// Claims in a directory of the test's own, on a machine with these users.
struct Node {
    directory: tempfile::TempDir,
}

impl Node {
    fn new() -> Self {
        // In memory, as /run is.
        let directory = tempfile::tempdir_in("/dev/shm").expect("a directory");
        fs::create_dir(directory.path().join("etc")).expect("a directory");
        Self { directory }
    }

    fn users(&self, file: &str, text: &str) {
        fs::write(self.directory.path().join("etc").join(file), text).expect("a file");
    }

    fn claims(&self) -> IdClaims {
        let path = self.directory.path();
        IdClaims::at(&path.join("ids"), &path.join("etc")).expect("a directory of one's own")
    }

    /// A claim of a container that is recorded.
    fn recorded(&self, id: &str, pool: &IdPool) -> IdClaim {
        let claim = self.claims().claim(pool).expect("one is free");
        self.record(id, &claim);
        claim
    }

    fn record(&self, id: &str, claim: &IdClaim) -> PathBuf {
        let container = self.directory.path().join(id);
        fs::create_dir(&container).expect("a directory");
        claim.assign(&container).expect("a claim can be written");
        let record = format!(r#"{{"id": "{id}", "ids": "{}"}}"#, claim.name());
        fs::write(container.join("state.json"), record).expect("a record");
        container
    }

    fn names(&self) -> BTreeSet<String> {
        let names = fs::read_dir(self.directory.path().join("ids")).expect("a directory");
        let names = names.map(|entry| entry.expect("a name").file_name().into_string());
        names.map(|name| name.expect("UTF-8")).filter(|name| name != POOL).collect()
    }
}

/// Ranges that no process of the machine of the test has.
fn pool(ranges: u32) -> IdPool {
    IdPool::new(40_000 * RANGE_IDS, ranges * RANGE_IDS).expect("a pool")
}

fn number(claim: &IdClaim) -> u32 {
    claim.first() / RANGE_IDS - 40_000
}

#[test]
fn ranges_are_given_in_turn_and_what_is_given_back_comes_last() {
    let (node, pool) = (Node::new(), pool(3));
    let claims = node.claims();
    let first = claims.claim(&pool).expect("one is free");
    let second = claims.claim(&pool).expect("one is free");
    assert_eq!([number(&first), number(&second)], [0, 1]);
    drop(first);
    let third = claims.claim(&pool).expect("one is free");
    let again = claims.claim(&pool).expect("one is free");
    assert_eq!([number(&third), number(&again)], [2, 0]);
    let error = claims.claim(&pool).expect_err("all are in use");
    assert_eq!(error.to_string(), "all 3 ranges of ids from 2621440000 on are in use");
    assert_eq!(error.kind(), Kind::Busy);
    drop(second);
    assert_eq!(number(&claims.claim(&pool).expect("one is free")), 1);
}

#[test]
fn what_users_have_is_never_given() {
    let (node, pool) = (Node::new(), pool(8));
    let id = |range: u32, offset: u32| (40_000 + range) * RANGE_IDS + offset;
    node.users("passwd", &format!("root:x:0:0::/:/bin/sh\nx:x:{}:5::/:/bin/sh\n", id(0, 5)));
    node.users("group", &format!("bad\nx:x:{}:\n", id(1, RANGE_IDS - 1)));
    node.users("subuid", &format!("# x:1\nx:{}:2\n", id(2, RANGE_IDS - 1)));
    node.users("subgid", &format!("x:{}:99999999999\n", id(6, 0)));
    let claims = node.claims();
    let four = claims.claim(&pool).expect("one is free");
    assert_eq!(number(&four), 4);
    // A user who has been added since the ranges were proven to be free.
    node.users("subuid", &format!("x:{}:2\ny:{}:1\n", id(2, RANGE_IDS - 1), id(5, 0)));
    claims.claim(&pool).expect_err("no other is free");
    node.users("subuid", "");
    assert_eq!(number(&claims.claim(&pool).expect("one is free")), 2);
}

#[test]
fn a_claim_is_held_while_it_is_made_and_while_it_is_recorded_and_collected_after() {
    let (node, pool) = (Node::new(), pool(2));
    let claims = node.claims();
    let being_made = claims.claim(&pool).expect("one is free");
    let recorded = node.recorded("c1", &pool);
    claims.claim(&pool).expect_err("none is free");
    // As a brig leaves it that is killed: the file stays, without a lock.
    let name = being_made.name().to_owned();
    being_made.keep();
    recorded.keep();
    let taken = claims.claim(&pool).expect("that is collected");
    assert_eq!((taken.name(), number(&taken)), (&*name, 0));
    taken.keep();
    // A record of which nothing is known may be of anybody's.
    let record = node.directory.path().join("c1/state.json");
    fs::write(&record, "{").expect("a record");
    claims.claim(&pool).expect("collected");
    assert!(node.names().contains("40001-0"));
    fs::remove_file(record).expect("it is there");
    let all = [claims.claim(&pool).expect("collected"), claims.claim(&pool).expect("collected")];
    assert_ne!(number(&all[0]), number(&all[1]));
}

#[test]
fn a_range_is_given_back_by_whose_it_is_alone() {
    let (node, pool) = (Node::new(), pool(1));
    let claims = node.claims();
    let claim = claims.claim(&pool).expect("one is free");
    let container = node.record("c1", &claim);
    let name = claim.name().to_owned();
    claim.keep();
    claims.give_back(&name, Path::new("/another")).expect("nothing to do");
    claims.claim(&pool).expect_err("none is free");
    claims.give_back(&name, &container).expect("it is");
    claims.give_back(&name, &container).expect("it is gone");
    claims.claim(&pool).expect("one is free");
}

#[test]
fn a_range_that_is_shared_is_free_when_the_last_has_gone() {
    let (node, pool) = (Node::new(), pool(1));
    let claims = node.claims();
    let sandbox = claims.claim(&pool).expect("one is free");
    let range = sandbox.first() / RANGE_IDS;
    assert!(claims.share(range, || false).expect("it can be asked").is_none());
    let member = claims.share(range, || true).expect("it can be asked").expect("a claim");
    assert_eq!(member.first(), sandbox.first());
    drop(sandbox);
    claims.claim(&pool).expect_err("none is free");
    drop(member);
    claims.claim(&pool).expect("one is free");
}

#[test]
fn the_file_of_the_pool_may_say_anything() {
    let (node, pool) = (Node::new(), pool(2));
    let claims = node.claims();
    let held = claims.claim(&pool).expect("one is free");
    let file = node.directory.path().join("ids").join(POOL);
    for text in ["", "{", r#"{"next": 40000, "free": [40000, 40000, 7]}"#, "[1]", "\0\0"] {
        fs::write(&file, text).expect("a file");
        let other = claims.claim(&pool).expect("one is free");
        assert_eq!([number(&held), number(&other)], [0, 1], "{text}");
    }
}

#[test]
fn one_at_a_time_looks_at_what_is_free() {
    let (node, pool) = (Node::new(), pool(1));
    let claims = node.claims();
    let locked = claims.lock().expect("nobody has it");
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| node.claims().claim(&pool).map(|claim| number(&claim)));
        std::thread::sleep(Duration::from_millis(50));
        assert!(node.names().is_empty() && !waiting.is_finished());
        drop(locked);
        assert_eq!(waiting.join().expect("no panic").expect("it is free"), 0);
    });
}

#[test]
fn ten_thousand_containers_have_ranges_of_their_own_and_the_next_one_is_quick() {
    const MANY: u32 = 10_000;
    let (node, pool) = (Node::new(), pool(MANY + 100));
    let of_thread = |thread: u32| -> Vec<u32> {
        let mut ranges = Vec::new();
        for at in 0..MANY / 4 {
            let claim = node.recorded(&format!("c{thread}-{at}"), &pool);
            ranges.push(number(&claim));
            claim.keep();
        }
        ranges
    };
    let ranges: BTreeSet<u32> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|thread| scope.spawn(move || of_thread(thread))).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
    });
    assert_eq!(ranges.len() as u32, MANY);
    let begun = Instant::now();
    let more: Vec<_> = (0..100).map(|_| node.claims().claim(&pool).expect("one is free")).collect();
    let each = begun.elapsed() / 100;
    assert!(each < Duration::from_millis(5), "{each:?} for each");
    assert!(more.iter().all(|claim| !ranges.contains(&number(claim))));
    let size = fs::metadata(node.directory.path().join("ids").join(POOL)).expect("a file").len();
    assert!(size < 4096, "{size}");
}
