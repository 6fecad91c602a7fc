//! One suite for every disk.

use eyot_checkpoint::disk::{Disk, OsDisk, SimDisk, read_all};
use std::io::ErrorKind;

fn conforms(disk: &dyn Disk) {
    assert!(disk.list().unwrap().is_empty());
    assert_eq!(disk.open("a").unwrap_err().kind(), ErrorKind::NotFound);
    let a = disk.create("a").unwrap();
    assert_eq!(disk.create("a").unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert!(a.is_empty().unwrap());

    a.write_at(0, b"hello").unwrap();
    a.write_at(10, b"world").unwrap();
    assert_eq!(read_all(&*a).unwrap(), b"hello\0\0\0\0\0world");
    a.write_at(3, b"p!").unwrap();
    let mut four = [0; 4];
    assert_eq!(a.read_at(2, &mut four).unwrap(), 4);
    assert_eq!(&four, b"lp!\0");
    assert_eq!(a.read_at(13, &mut four).unwrap(), 2);
    assert_eq!(a.read_at(99, &mut four).unwrap(), 0);
    a.sync_data().unwrap();
    disk.sync_dir().unwrap();

    a.preallocate(8192).unwrap();
    assert_eq!(a.len().unwrap(), 8192);
    a.preallocate(100).unwrap();
    assert_eq!(a.len().unwrap(), 8192, "preallocating never cuts");
    let all = read_all(&*a).unwrap();
    assert_eq!((&all[..5], all[8191]), (&b"help!"[..], 0));
    a.truncate(4).unwrap();
    assert_eq!(read_all(&*disk.open("a").unwrap()).unwrap(), b"help");
    a.truncate(6).unwrap();
    assert_eq!(read_all(&*a).unwrap(), b"help\0\0");

    let b = disk.create("b").unwrap();
    b.write_at(0, b"b").unwrap();
    assert_eq!(disk.list().unwrap(), ["a", "b"]);
    disk.rename("b", "a").unwrap();
    assert_eq!(disk.list().unwrap(), ["a"]);
    assert_eq!(read_all(&*disk.open("a").unwrap()).unwrap(), b"b");
    assert_eq!(disk.rename("b", "c").unwrap_err().kind(), ErrorKind::NotFound);
    disk.remove("a").unwrap();
    assert_eq!(disk.remove("a").unwrap_err().kind(), ErrorKind::NotFound);
    assert!(disk.list().unwrap().is_empty());
    disk.sync_dir().unwrap();
    assert!(disk.available().unwrap() > 0);
}

#[test]
fn the_systems_disk_conforms() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let disk = OsDisk::open(&path).unwrap();
    conforms(&disk);
    assert_eq!(
        OsDisk::open(&path).unwrap_err().kind(),
        ErrorKind::WouldBlock,
        "one process at a time"
    );
    for name in ["", "..", "x/y"] {
        assert_eq!(disk.create(name).unwrap_err().kind(), ErrorKind::InvalidInput, "{name}");
    }
    drop(disk);
    OsDisk::open(&path).unwrap();
}

#[test]
fn the_simulated_disk_conforms() {
    conforms(&SimDisk::new());
}

#[test]
fn a_power_cut_keeps_what_was_synced_and_only_that_for_sure() {
    let mut torn = 0;
    for seed in 0..64 {
        let disk = SimDisk::new();
        let file = disk.create("a").unwrap();
        file.write_at(0, &[1; 4096]).unwrap();
        file.sync_data().unwrap();
        disk.sync_dir().unwrap();
        file.write_at(1024, &[2; 8192]).unwrap();
        disk.create("never synced").unwrap();
        disk.crash(seed);
        assert!(file.len().is_err(), "a handle does not survive the machine");
        let bytes = read_all(&*disk.open("a").unwrap()).unwrap();
        assert_eq!(&bytes[..1024], [1; 1024]);
        assert!(bytes[1024..].iter().all(|b| *b == 2 || *b == 1 || *b == 0));
        torn += u32::from(bytes[1024..4096].contains(&1) && bytes[1024..4096].contains(&2));
    }
    assert!(torn > 32, "writes are torn");
}

#[test]
fn what_a_failed_sync_should_have_written_is_never_written_by_a_later_one() {
    let disk = SimDisk::new();
    let file = disk.create("a").unwrap();
    disk.sync_dir().unwrap();
    file.write_at(0, b"lost").unwrap();
    disk.fail_syncs(1);
    file.sync_data().unwrap_err();
    file.sync_data().unwrap();
    disk.crash(0);
    assert_ne!(read_all(&*disk.open("a").unwrap()).unwrap(), b"lost");
}

#[test]
fn a_full_disk_refuses_to_grow_and_takes_writes_within_what_was_reserved() {
    let disk = SimDisk::new();
    disk.set_capacity(Some(8192));
    let file = disk.create("a").unwrap();
    file.preallocate(8192).unwrap();
    assert_eq!(disk.available().unwrap(), 0);
    file.write_at(0, &[1; 8192]).unwrap();
    assert_eq!(file.write_at(8000, &[1; 200]).unwrap_err().kind(), ErrorKind::StorageFull);
    disk.remove("a").unwrap();
    assert_eq!(disk.available().unwrap(), 8192);
}
