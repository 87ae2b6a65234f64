use std::io::Write;

use super::*;

fn line(text: &str) -> impl FnOnce(&mut Vec<u8>) {
    let bytes = format!("{text}\n").into_bytes();
    move |buffer| buffer.extend(bytes)
}

#[test]
fn a_cut_line_is_taken_away_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("eve.json");
    let long = "x".repeat(200_000);
    for (before, kept) in [
        (String::new(), String::new()),
        ("{}\n".to_owned(), "{}\n".to_owned()),
        ("{}\n{\"a\":".to_owned(), "{}\n".to_owned()),
        (long.clone(), String::new()),
        (format!("{{}}\n{long}"), "{}\n".to_owned()),
    ] {
        std::fs::write(&path, &before).unwrap();
        let (mut file, cut_bytes) = EventFile::open(&path, 0o640).unwrap();
        assert_eq!(cut_bytes as usize, before.len() - kept.len());
        file.add_line(line("[1]"));
        file.write().unwrap();
        file.sync().unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{kept}[1]\n"));
    }
}

/// Takes some bytes at a time, and refuses each second time.
#[derive(Default)]
struct Miser {
    taken: std::sync::Arc<std::sync::Mutex<Vec<u8>>>,
    calls: u32,
}

impl Write for Miser {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.calls += 1;
        if self.calls.is_multiple_of(2) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let count = bytes.len().min(3);
        self.taken.lock().unwrap().extend(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Target for Miser {
    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn what_is_refused_is_offered_again_and_nothing_is_written_twice() {
    let miser = Miser::default();
    let taken = std::sync::Arc::clone(&miser.taken);
    let mut file = EventFile::to(Box::new(miser));
    let mut expected = String::new();
    for number in 0..50 {
        file.add_line(line(&format!("[{number}]")));
        expected += &format!("[{number}]\n");
        let _ = file.write();
    }
    while file.write().is_err() {}
    assert_eq!(String::from_utf8(taken.lock().unwrap().clone()).unwrap(), expected);
    assert_eq!(file.lines_waiting(), 0);
}

#[test]
fn a_renamed_file_is_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let (path, old) = (folder.path().join("eve.json"), folder.path().join("eve.json.1"));
    let (mut file, _) = EventFile::open(&path, 0o640).unwrap();
    file.add_line(line("[1]"));
    file.write().unwrap();
    std::fs::rename(&path, &old).unwrap();
    file.add_line(line("[2]"));
    file.write().unwrap();
    file.add_line(line("[3]"));
    file.reopen().unwrap();
    file.write().unwrap();
    assert_eq!(std::fs::read_to_string(&old).unwrap(), "[1]\n[2]\n");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "[3]\n");
}

/// A disk with room for so many bytes, or none that takes bytes back.
#[derive(Clone, Default)]
struct Disk {
    taken: std::sync::Arc<std::sync::Mutex<Vec<u8>>>,
    room: std::sync::Arc<std::sync::atomic::AtomicUsize>,
    takes_back: bool,
}

impl Disk {
    fn set_room(&self, bytes: usize) {
        self.room.store(bytes, std::sync::atomic::Ordering::Relaxed);
    }

    fn text(&self) -> String {
        String::from_utf8(self.taken.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = self.room.load(std::sync::atomic::Ordering::Relaxed);
        let count = bytes.len().min(room);
        self.set_room(room - count);
        self.taken.lock().unwrap().extend(&bytes[..count]);
        if count == 0 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(count) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Target for Disk {
    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn take_back(&mut self, last: &[u8]) -> io::Result<bool> {
        if self.takes_back {
            let mut taken = self.taken.lock().unwrap();
            let length = taken.len() - last.len();
            assert_eq!(&taken[length..], last);
            taken.truncate(length);
            self.room.fetch_add(last.len(), std::sync::atomic::Ordering::Relaxed);
        }
        Ok(self.takes_back)
    }
}

#[test]
fn a_full_disk_keeps_whole_lines_only_and_what_it_took_is_counted() {
    let lines: String = (0..20).map(|number| format!("[{number}]\n")).collect();
    for room in 0..lines.len() {
        let disk = Disk { takes_back: true, ..Disk::default() };
        disk.set_room(room);
        let mut file = EventFile::to(Box::new(disk.clone()));
        for number in 0..20 {
            file.add_line(line(&format!("[{number}]")));
        }
        for _ in 0..3 {
            file.write().unwrap_err();
            let text = disk.text();
            assert_eq!(text, lines[..end_of_lines(&lines.as_bytes()[..room])], "room for {room}");
        }
        let written = file.take_written();
        assert_eq!(written.lines + file.lines_waiting(), 20);
        assert_eq!(written.bytes, disk.text().len() as u64);
        disk.set_room(lines.len());
        file.write().unwrap();
        assert_eq!(disk.text(), lines);
        assert_eq!(file.take_written().lines, 20 - written.lines);
    }
}

#[test]
fn what_cannot_be_taken_back_is_ended_where_it_began() {
    let disk = Disk::default();
    disk.set_room(6);
    let mut file = EventFile::to(Box::new(disk.clone()));
    file.add_line(line("[1]"));
    file.add_line(line("[2]"));
    file.write().unwrap_err();
    assert_eq!((disk.text().as_str(), file.take_written().lines), ("[1]\n[2", 1));
    disk.set_room(100);
    file.write().unwrap();
    assert_eq!((disk.text().as_str(), file.take_written().lines), ("[1]\n[2]\n", 1));
}

#[test]
fn lines_given_up_are_counted() {
    let disk = Disk { takes_back: true, ..Disk::default() };
    disk.set_room(5);
    let mut file = EventFile::to(Box::new(disk));
    for number in 0..7 {
        file.add_line(line(&format!("[{number}]")));
    }
    file.write().unwrap_err();
    assert_eq!((file.take_written().lines, file.give_up(), file.lines_waiting()), (1, 6, 0));
}

#[test]
fn a_deleted_file_is_made_anew_with_the_lines_that_went_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("eve.json");
    let (mut file, _) = EventFile::open(&path, 0o640).unwrap();
    file.add_line(line("[1]"));
    file.write().unwrap();
    std::fs::remove_file(&path).unwrap();
    file.add_line(line("[2]"));
    file.write().unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "[2]\n");
    // Another file in its place deletes it as well.
    std::fs::write(folder.path().join("other"), "[0]\n").unwrap();
    std::fs::rename(folder.path().join("other"), &path).unwrap();
    file.add_line(line("[3]"));
    file.write().unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "[0]\n[3]\n");
    assert_eq!(file.take_written().lines, 3);
    // It is noticed without a line too.
    std::fs::remove_file(&path).unwrap();
    file.write().unwrap();
    assert!(path.exists());
}

#[test]
fn a_reopening_that_failed_is_tried_again_and_lines_wait_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let (path, old) = (folder.path().join("in/eve.json"), folder.path().join("out"));
    std::fs::create_dir(folder.path().join("in")).unwrap();
    let (mut file, _) = EventFile::open(&path, 0o640).unwrap();
    file.add_line(line("[1]"));
    file.write().unwrap();
    std::fs::rename(folder.path().join("in"), &old).unwrap();
    file.reopen().unwrap_err();
    file.add_line(line("[2]"));
    file.write().unwrap_err();
    std::fs::create_dir(folder.path().join("in")).unwrap();
    file.write().unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "[2]\n");
    assert_eq!(std::fs::read_to_string(old.join("eve.json")).unwrap(), "[1]\n");
    // At the very end the old file is better than none.
    std::fs::remove_dir_all(folder.path().join("in")).unwrap();
    file.reopen().unwrap_err();
    file.add_line(line("[3]"));
    file.write().unwrap_err();
}

#[test]
fn a_pipe_takes_whole_lines_and_blocks_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipe");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    let (mut file, _) = EventFile::open(&path, 0o640).unwrap();
    let text = "x".repeat(999);
    for _ in 0..200 {
        file.add_line(line(&text));
    }
    assert_eq!(file.write().unwrap_err().kind(), io::ErrorKind::BrokenPipe, "it has no reader");
    let mut options = std::fs::OpenOptions::new();
    let nonblocking = nix::fcntl::OFlag::O_NONBLOCK.bits();
    let mut reader =
        std::os::unix::fs::OpenOptionsExt::custom_flags(options.read(true), nonblocking).open(&path).unwrap();
    assert_eq!(file.write().unwrap_err().kind(), io::ErrorKind::WouldBlock, "its reader takes nothing");
    let written = file.take_written();
    assert!(written.lines > 20 && written.lines + file.lines_waiting() == 200, "{written:?}");
    let mut taken = vec![0; 1 << 20];
    let count = std::io::Read::read(&mut reader, &mut taken).unwrap();
    assert_eq!(count as u64, written.bytes, "no line is cut");
    let began = std::time::Instant::now();
    file.wait(std::time::Duration::from_secs(5));
    assert!(began.elapsed() < std::time::Duration::from_secs(4), "there is room");
    file.reopen().unwrap();
    while file.lines_waiting() > 0 {
        let _ = file.write();
        let _ = std::io::Read::read(&mut reader, &mut taken);
    }
    assert_eq!(file.take_written().lines + written.lines, 200);
}
