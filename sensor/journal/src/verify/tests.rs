use std::fs;

use proptest::prelude::Rng;
use proptest::test_runner::{RngAlgorithm, TestRng};

use super::*;
use crate::journal::{Journal, JournalOptions};

/// A journal of four closed segments, the first three of them compressed.
fn journal() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let (mut journal, _) = Journal::open(folder.path(), JournalOptions::default()).unwrap();
    for segment in 0..4_u32 {
        for number in 0..50 {
            let text = format!(
                "{{\"timestamp\":\"2026-11-2{segment}T02:14:06.{number:06}+0000\",\"segment\":{segment},\"n\":{number}}}\n"
            );
            journal.add_line(|line| line.extend(text.bytes()));
        }
        journal.write().unwrap();
        if segment == 3 {
            let compressed = || journal.status().compressed();
            while compressed() < 3 {
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
        }
        journal.rotate().unwrap();
    }
    drop(journal);
    // The thread may have compressed the last one as well.
    let (plain, compressed) = (folder.path().join("00000004.jsonl"), folder.path().join("00000004.jsonl.zst"));
    if !plain.exists() {
        fs::write(&plain, zstd::decode_all(File::open(&compressed).unwrap()).unwrap()).unwrap();
        fs::remove_file(&compressed).unwrap();
    }
    fs::remove_file(folder.path().join("00000005.jsonl")).unwrap();
    folder
}

fn damage(folder: &Path, against: Option<&Path>) -> (u64, DamageKind) {
    match verify(folder, against) {
        Err(VerifyError::Damaged(Damage { seq, kind })) => (seq, kind),
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_flipped_byte_of_a_sealed_segment_is_found() {
    let folder = journal();
    assert_eq!(verify(folder.path(), None).unwrap().lines, 200);
    let mut random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut kinds = std::collections::BTreeMap::new();
    for _ in 0..1_000 {
        let seq = u64::from(random.next_u32() % 4) + 1;
        let name = if seq == 4 { "00000004.jsonl".to_owned() } else { format!("{seq:08}.jsonl.zst") };
        let path = folder.path().join(name);
        let bytes = fs::read(&path).unwrap();
        let place = random.next_u32() as usize % bytes.len();
        let mut flipped = bytes.clone();
        flipped[place] ^= 1 << (random.next_u32() % 8);
        fs::write(&path, flipped).unwrap();
        let (found, kind) = damage(folder.path(), None);
        assert_eq!(found, seq, "byte {place}: {kind:?}");
        let word = format!("{kind:?}");
        *kinds.entry(word.split(['(', ' ']).next().unwrap().to_owned()).or_insert(0) += 1;
        fs::write(&path, bytes).unwrap();
    }
    assert_eq!(kinds.keys().collect::<Vec<_>>(), ["Altered", "FileAltered", "Unreadable"], "{kinds:?}");
    verify(folder.path(), None).unwrap();
}

#[test]
fn a_segment_that_is_cut_missing_or_exchanged_is_named() {
    let folder = journal();
    let path = |name: &str| folder.path().join(name);
    let with = |name: &str, change: &dyn Fn(&Path)| {
        let bytes = fs::read(path(name)).unwrap();
        change(&path(name));
        let damage = damage(folder.path(), None);
        fs::write(path(name), bytes).unwrap();
        damage
    };
    let sealed = fs::metadata(path("00000004.jsonl")).unwrap().len();
    let cut = |file: &Path| File::options().write(true).open(file).unwrap().set_len(100).unwrap();
    assert_eq!(with("00000004.jsonl", &cut), (4, DamageKind::Cut { bytes: 100, sealed }));
    assert!(matches!(with("00000002.jsonl.zst", &cut), (2, DamageKind::Unreadable(_))));
    let remove = |file: &Path| fs::remove_file(file).unwrap();
    assert_eq!(with("00000001.jsonl.zst", &remove), (1, DamageKind::Missing));
    // Two segments have changed places.
    let exchange = || {
        fs::rename(path("00000002.jsonl.zst"), path("other")).unwrap();
        fs::rename(path("00000003.jsonl.zst"), path("00000002.jsonl.zst")).unwrap();
        fs::rename(path("other"), path("00000003.jsonl.zst")).unwrap();
    };
    exchange();
    assert_eq!(damage(folder.path(), None), (2, DamageKind::Altered));
    exchange();
    // Of several the first is named.
    let text = fs::read(path("00000004.jsonl")).unwrap();
    remove(&path("00000004.jsonl"));
    assert_eq!(with("00000003.jsonl.zst", &remove).0, 3);
    fs::write(path("00000004.jsonl"), text).unwrap();
    // One that was never sealed is beside them.
    fs::write(path("00000006.jsonl.zst"), "").unwrap();
    assert_eq!(damage(folder.path(), None), (6, DamageKind::Unsealed));
    remove(&path("00000006.jsonl.zst"));
    verify(folder.path(), None).unwrap();
}

#[test]
fn a_seal_that_is_altered_taken_out_or_moved_is_named() {
    let folder = journal();
    let path = folder.path().join("seals.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let with = |lines: &[&str]| {
        fs::write(&path, lines.iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
        damage(folder.path(), None)
    };
    let altered = lines[1].replace("\"policy\":\"\"", "\"policy\":\"x\"");
    assert_eq!(with(&[lines[0], &altered, lines[2], lines[3]]), (3, DamageKind::ChainBroken { line: 3 }));
    assert_eq!(with(&[lines[0], lines[2], lines[3]]), (2, DamageKind::ChainBroken { line: 2 }));
    assert_eq!(with(&[lines[0], lines[2], lines[1], lines[3]]), (2, DamageKind::ChainBroken { line: 2 }));
    assert_eq!(with(&[lines[0], "{}", lines[2], lines[3]]), (2, DamageKind::NoSeal { line: 2 }));
    assert_eq!(with(&[lines[1], lines[2], lines[3]]), (1, DamageKind::ChainBroken { line: 1 }));
}

/// Makes the chain anew, as somebody does who knows of it.
fn rechain(seals: &mut [Seal]) -> String {
    let mut prev = NO_SEAL.to_owned();
    let mut text = String::new();
    for seal in seals {
        seal.prev = prev;
        let line = serde_json::to_string(seal).unwrap();
        prev = Sha256::of(line.as_bytes());
        text += &format!("{line}\n");
    }
    text
}

#[test]
fn who_makes_the_chain_anew_is_found_by_the_seals_that_somebody_else_holds() {
    let folder = journal();
    let path = |name: &str| folder.path().join(name);
    let (seals, held) = (path("seals.jsonl"), path("held"));
    let original = fs::read_to_string(&seals).unwrap();
    fs::write(&held, &original).unwrap();
    assert_eq!(verify(folder.path(), Some(&held)).unwrap().seals_held, 4);
    let sealed = || seal::read_seals(folder.path()).unwrap();
    // A line is taken out of the second segment.
    let compressed = path("00000002.jsonl.zst");
    let bytes = fs::read(&compressed).unwrap();
    let plain = String::from_utf8(zstd::decode_all(&*bytes).unwrap()).unwrap();
    let fewer = plain.split_once('\n').unwrap().1;
    fs::remove_file(&compressed).unwrap();
    fs::write(path("00000002.jsonl"), fewer).unwrap();
    let mut forged = sealed();
    (forged[1].sha256, forged[1].lines, forged[1].bytes) = (Sha256::of(fewer.as_bytes()), 49, fewer.len() as u64);
    fs::write(&seals, rechain(&mut forged)).unwrap();
    verify(folder.path(), None).unwrap();
    assert_eq!(damage(folder.path(), Some(&held)), (2, DamageKind::OtherSeal));
    fs::remove_file(path("00000002.jsonl")).unwrap();
    fs::write(&compressed, bytes).unwrap();
    // The last segment is deleted with its seal.
    let last = fs::read(path("00000004.jsonl")).unwrap();
    fs::remove_file(path("00000004.jsonl")).unwrap();
    fs::write(&seals, original.lines().take(3).map(|line| format!("{line}\n")).collect::<String>()).unwrap();
    verify(folder.path(), None).unwrap();
    assert_eq!(damage(folder.path(), Some(&held)), (4, DamageKind::SealRemoved));
    fs::write(path("00000004.jsonl"), last).unwrap();
    // Two segments change places, with their seals.
    fs::write(&seals, &original).unwrap();
    let mut forged = sealed();
    forged.swap(1, 2);
    (forged[1].seq, forged[2].seq) = (2, 3);
    fs::rename(path("00000002.jsonl.zst"), path("other")).unwrap();
    fs::rename(path("00000003.jsonl.zst"), &compressed).unwrap();
    fs::rename(path("other"), path("00000003.jsonl.zst")).unwrap();
    fs::write(&seals, rechain(&mut forged)).unwrap();
    verify(folder.path(), None).unwrap();
    assert_eq!(damage(folder.path(), Some(&held)), (2, DamageKind::OtherSeal));
    // Retention is no excuse for what it would not have removed.
    fs::write(&seals, &original).unwrap();
    let mut forged = sealed();
    let mut gone = forged[2].changed("alerts_days", 0, 0, Sha256::of(&[]));
    gone.reason = Some("nobody looks".to_owned());
    forged.push(gone);
    fs::write(&seals, rechain(&mut forged)).unwrap();
    assert!(matches!(verify(folder.path(), None), Err(VerifyError::Damaged(_))));
}

#[test]
fn seals_are_found_in_what_receivers_make_of_them() {
    let folder = journal();
    let held = folder.path().join("held");
    let text = fs::read_to_string(folder.path().join("seals.jsonl")).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let reordered: Value = serde_json::from_str(lines[1]).unwrap();
    let mut keys: Vec<_> = reordered.as_object().unwrap().iter().collect();
    keys.reverse();
    let reordered = keys.iter().map(|(key, value)| format!("\"{key}\" : {value}")).collect::<Vec<_>>().join(", ");
    let inner = serde_json::to_string(lines[2]).unwrap();
    let text = format!(
        "<14>1 2026-11-28T02:14:06Z tap vigie - seal - {}\n{{{reordered}}}\n{{\"message\":{inner}}}\n\
         {{\"event\":{{\"seal\":{}}}}}\nsomething else\n",
        lines[0], lines[3]
    );
    fs::write(&held, text).unwrap();
    assert_eq!(verify(folder.path(), Some(&held)).unwrap().seals_held, 4);
    fs::write(&held, "{\"seq\":1}\n").unwrap();
    assert!(matches!(verify(folder.path(), Some(&held)), Err(VerifyError::NoSeals(_))));
}
