//! One suite for every store.

use eyot_checkpoint::store::{KEY_LIMIT, VALUE_LIMIT};
use eyot_checkpoint::{Batch, CheckpointStore, MemorySource, SledSource, StoreError, StoreSource};
use eyot_model::Position;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;

fn position(n: u64) -> Option<Position> {
    Some(Position { generation: 7, n })
}

fn batch(fill: impl FnOnce(&mut Batch)) -> Batch {
    let mut batch = Batch::default();
    fill(&mut batch);
    batch
}

fn keys(store: &dyn CheckpointStore, tree: &str, prefix: &[u8]) -> Vec<Vec<u8>> {
    store
        .scan(tree, prefix, None, 100)
        .unwrap()
        .into_iter()
        .map(|(key, _)| key)
        .collect()
}

fn conforms(source: &dyn StoreSource) {
    let store = source.open().unwrap();
    assert_eq!(store.folded().unwrap(), None);
    assert_eq!(store.get("runs", b"a").unwrap(), None);

    let first = batch(|b| {
        b.put("runs", b"a", b"1");
        b.put("runs", b"ab", b"2");
        b.put("runs", b"b", vec![9; 10_000]);
        b.put("run", b"sab", b"another tree, though the letters run on");
    });
    for _ in 0..2 {
        store.apply(&first, position(4)).unwrap();
        assert_eq!(store.folded().unwrap(), position(4));
        assert_eq!(keys(&*store, "runs", b""), [b"a".to_vec(), b"ab".to_vec(), b"b".to_vec()]);
        assert_eq!(keys(&*store, "run", b""), [b"sab".to_vec()]);
    }
    assert_eq!(store.get("runs", b"b").unwrap(), Some(vec![9; 10_000]));
    assert_eq!(keys(&*store, "runs", b"a"), [b"a".to_vec(), b"ab".to_vec()]);
    let page = store.scan("runs", b"", Some(b"a"), 1).unwrap();
    assert_eq!(page, [(b"ab".to_vec(), b"2".to_vec())]);
    assert!(store.scan("runs", b"a", Some(b"ab"), 9).unwrap().is_empty());

    // Later changes of a batch win over earlier ones, whatever the length of the values.
    let order = batch(|b| {
        b.put("runs", b"c", vec![1; 9_000]);
        b.put("runs", b"c", b"short");
        b.put("runs", b"d", b"gone");
        b.delete_prefix("runs", b"d");
        b.delete("runs", b"e");
        b.put("runs", b"e", vec![2; 7_000]);
        b.put("runs", b"b", vec![3; 4_000]);
    });
    store.apply(&order, None).unwrap();
    assert_eq!(store.folded().unwrap(), position(4), "a batch without a position leaves it");
    assert_eq!(store.get("runs", b"c").unwrap(), Some(b"short".to_vec()));
    assert_eq!(store.get("runs", b"d").unwrap(), None);
    assert_eq!(store.get("runs", b"e").unwrap(), Some(vec![2; 7_000]));
    assert_eq!(store.get("runs", b"b").unwrap(), Some(vec![3; 4_000]));

    store.apply(&batch(|b| b.delete_prefix("runs", b"")), position(5)).unwrap();
    assert!(keys(&*store, "runs", b"").is_empty());
    assert_eq!(keys(&*store, "run", b"").len(), 1);

    for wrong in [
        batch(|b| b.put("", b"k", b"v")),
        batch(|b| b.put("a tree whose name is far too long", b"k", b"v")),
        batch(|b| b.put("t", vec![0; KEY_LIMIT + 1], b"v")),
        batch(|b| b.put("t", b"k", vec![0; VALUE_LIMIT + 1])),
    ] {
        let mut whole = batch(|b| b.put("t", b"sound", b"v"));
        whole.writes.extend(wrong.writes);
        assert!(store.apply(&whole, position(99)).is_err());
        assert_eq!(store.get("t", b"sound").unwrap(), None, "all or nothing");
        assert_eq!(store.folded().unwrap(), position(5));
    }

    // Flushed, it is there when it is opened again; set aside, it is not.
    store.apply(&batch(|b| b.put("t", b"kept", vec![5; 5_000])), position(6)).unwrap();
    store.flush().unwrap();
    drop(store);
    let store = source.open().unwrap();
    assert_eq!(store.get("t", b"kept").unwrap(), Some(vec![5; 5_000]));
    assert_eq!(store.folded().unwrap(), position(6));
    drop(store);
    assert!(source.quarantine("aside").unwrap().contains("aside"));
    let store = source.open().unwrap();
    assert_eq!(store.get("t", b"kept").unwrap(), None);
    assert_eq!(store.folded().unwrap(), None);
}

#[test]
fn the_store_in_memory_conforms() {
    conforms(&MemorySource::new());
}

#[test]
fn the_store_on_disk_conforms() {
    let dir = tempfile::tempdir().unwrap();
    conforms(&SledSource::new(dir.path().join("store"), 1 << 20));
}

#[test]
fn a_store_in_memory_forgets_what_was_not_flushed() {
    let source = MemorySource::new();
    let store = source.open().unwrap();
    store.apply(&batch(|b| b.put("t", b"a", b"1")), position(1)).unwrap();
    store.flush().unwrap();
    store
        .apply(
            &batch(|b| {
                b.put("t", b"b", b"2");
                b.delete("t", b"a");
            }),
            position(2),
        )
        .unwrap();
    source.crash();
    let store = source.open().unwrap();
    assert_eq!(keys(&*store, "t", b""), [b"a".to_vec()]);
    assert_eq!(store.folded().unwrap(), position(1));
    source.fail_opens(1);
    assert!(matches!(source.open(), Err(StoreError::Damaged(_))));
}

#[derive(Clone, Debug)]
enum Op {
    Put(u8, Vec<u8>, usize),
    Delete(u8, Vec<u8>),
    DeletePrefix(u8, Vec<u8>),
    Reopen,
}

fn op() -> impl Strategy<Value = Op> {
    let key = proptest::collection::vec(0u8..3, 0..4);
    let len = prop_oneof![0usize..50, 3000usize..3200, 6000usize..20_000];
    prop_oneof![
        5 => (0u8..2, key.clone(), len).prop_map(|(tree, key, len)| Op::Put(tree, key, len)),
        2 => (0u8..2, key.clone()).prop_map(|(tree, key)| Op::Delete(tree, key)),
        1 => (0u8..2, key).prop_map(|(tree, key)| Op::DeletePrefix(tree, key)),
        1 => Just(Op::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 24, ..ProptestConfig::default() })]

    /// Both stores against a map.
    #[test]
    fn stores_do_what_a_map_does(batches in proptest::collection::vec(proptest::collection::vec(op(), 1..8), 1..12)) {
        let dir = tempfile::tempdir().unwrap();
        let sources: [Arc<dyn StoreSource>; 2] =
            [Arc::new(MemorySource::new()), Arc::new(SledSource::new(dir.path().join("store"), 1 << 20))];
        for source in sources {
            let mut model: BTreeMap<(u8, Vec<u8>), Vec<u8>> = BTreeMap::new();
            let mut store = source.open().unwrap();
            for (n, ops) in batches.iter().enumerate() {
                let mut changes = Batch::default();
                let mut reopen = false;
                for (i, op) in ops.iter().enumerate() {
                    match op {
                        Op::Put(tree, key, len) => {
                            let value = vec![u8::try_from((n * 8 + i) % 256).unwrap(); *len];
                            changes.put(&tree.to_string(), key.clone(), value.clone());
                            model.insert((*tree, key.clone()), value);
                        }
                        Op::Delete(tree, key) => {
                            changes.delete(&tree.to_string(), key.clone());
                            model.remove(&(*tree, key.clone()));
                        }
                        Op::DeletePrefix(tree, prefix) => {
                            changes.delete_prefix(&tree.to_string(), prefix.clone());
                            model.retain(|(t, key), _| t != tree || !key.starts_with(prefix));
                        }
                        Op::Reopen => reopen = true,
                    }
                }
                store.apply(&changes, position(n as u64)).unwrap();
                if reopen {
                    store.flush().unwrap();
                    drop(store);
                    store = source.open().unwrap();
                }
                for tree in 0u8..2 {
                    let expected: Vec<(Vec<u8>, Vec<u8>)> =
                        model.iter().filter(|((t, _), _)| *t == tree).map(|((_, k), v)| (k.clone(), v.clone())).collect();
                    prop_assert_eq!(store.scan(&tree.to_string(), b"", None, usize::MAX).unwrap(), expected);
                }
                prop_assert_eq!(store.folded().unwrap(), position(n as u64));
            }
        }
    }
}
