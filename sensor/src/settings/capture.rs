//! The settings of capture as the options of live capture.

use super::Capture;
use vigie_capture::live::shunt::{ProgramOptions, Purpose};
use vigie_capture::live::{Backend, LiveOptions, ShuntMode};

impl Capture {
    /// What the program is to do for the shunt, if there is to be one. Its table has room for so many flows.
    pub fn shunt_options(&self, flows_max: usize) -> Option<ProgramOptions> {
        self.program_options(flows_max).filter(|options| options.flows_max.is_some())
    }

    /// What the program is to do, if there is to be one: the shunt's, that for AF_XDP sockets, or both in one.
    pub fn program_options(&self, flows_max: usize) -> Option<ProgramOptions> {
        let shunts = self.shunt != ShuntMode::Off;
        let purpose = match (self.shunt, self.backend) {
            (ShuntMode::Pass, _) => Purpose::Filter { snap_bytes: self.live_options().snap_bytes },
            (_, Backend::Xdp) => Purpose::Sockets,
            (ShuntMode::Drop, _) => Purpose::Shunt,
            (ShuntMode::Off, _) => return None,
        };
        Some(ProgramOptions { interfaces: self.interfaces.clone(), flows_max: shunts.then_some(flows_max), purpose })
    }

    /// The options of live capture.
    pub fn live_options(&self) -> LiveOptions {
        LiveOptions {
            interfaces: self.interfaces.clone(),
            backend: self.backend,
            fanout: self.fanout,
            ring_bytes_per_worker: self.ring_bytes,
            block_bytes: self.block_bytes,
            block_timeout_ms: self.block_timeout_ms,
            snap_bytes: u32::try_from(self.snap_bytes).unwrap_or(u32::MAX),
            promiscuous: self.promiscuous,
            bpf: self.bpf.clone(),
            timestamps: self.timestamps,
            wait_for_interfaces: self.wait_for_interfaces,
            spare_sockets: self.spare_sockets,
            wait_ms: LiveOptions::default().wait_ms,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;
    use vigie_capture::live::{Fanout, Timestamps};
    use vigie_config::{Rule, Table};

    fn capture() -> Capture {
        Capture { interfaces: vec!["eth0".to_owned()], ..Capture::default() }
    }

    #[test]
    fn the_defaults_are_those_of_live_capture() {
        let live = LiveOptions { interfaces: vec!["eth0".to_owned()], ..LiveOptions::default() };
        assert_eq!(capture().live_options(), live);
    }

    #[test]
    fn the_program_is_for_the_shunt_or_sockets_or_both() {
        let options = |backend, shunt| Capture { backend, shunt, ..capture() }.program_options(64);
        assert_eq!(options(Backend::Ring, ShuntMode::Off), None);
        let interfaces = vec!["eth0".to_owned()];
        let of = |flows_max, purpose| Some(ProgramOptions { interfaces: interfaces.clone(), flows_max, purpose });
        assert_eq!(options(Backend::Ring, ShuntMode::Drop), of(Some(64), Purpose::Shunt));
        assert_eq!(options(Backend::Xdp, ShuntMode::Off), of(None, Purpose::Sockets));
        assert_eq!(options(Backend::Xdp, ShuntMode::Drop), of(Some(64), Purpose::Sockets));
        let snap_bytes = capture().live_options().snap_bytes;
        assert_eq!(options(Backend::Ring, ShuntMode::Pass), of(Some(64), Purpose::Filter { snap_bytes }));
    }

    #[test]
    fn every_setting_arrives() {
        let capture = Capture {
            interfaces: vec!["eth0".to_owned(), "eth1".to_owned()],
            backend: Backend::Pcap,
            fanout: Fanout::Qm,
            workers: 1,
            cpus: vec![0],
            ring_bytes: 8192,
            block_bytes: 4096,
            block_timeout_ms: 3,
            snap_bytes: 256,
            promiscuous: false,
            bpf: Some("tcp".to_owned()),
            timestamps: Timestamps::Hardware,
            wait_for_interfaces: false,
            spare_sockets: 2,
            shunt: ShuntMode::Drop,
        };
        let live = LiveOptions {
            interfaces: capture.interfaces.clone(),
            backend: Backend::Pcap,
            fanout: Fanout::Qm,
            ring_bytes_per_worker: 8192,
            block_bytes: 4096,
            block_timeout_ms: 3,
            snap_bytes: 256,
            promiscuous: false,
            bpf: Some("tcp".to_owned()),
            timestamps: Timestamps::Hardware,
            wait_ms: 100,
            wait_for_interfaces: false,
            spare_sockets: 2,
        };
        assert_eq!(capture.live_options(), live);
    }

    /// The range of a setting is exactly what live capture accepts.
    #[test]
    fn ranges_are_those_of_live_capture() {
        type Set = fn(&mut Capture, u64);
        let sets: [(&str, Set); 5] = [
            ("workers", |_, _| {}),
            ("ring_bytes", |capture, bytes| capture.ring_bytes = bytes as usize),
            ("block_bytes", |capture, bytes| {
                (capture.block_bytes, capture.ring_bytes) = (bytes as usize, 2 * bytes as usize);
            }),
            ("block_timeout_ms", |capture, time| capture.block_timeout_ms = time as u32),
            ("snap_bytes", |capture, bytes| capture.snap_bytes = bytes as usize),
        ];
        for (name, set) in sets {
            let Rule::Range(least, most) = Settings::definition("capture", name).unwrap().rule else {
                panic!("{name}")
            };
            let accepts = |number: u64| {
                let mut capture = Capture { block_bytes: 4096, ..capture() };
                set(&mut capture, number);
                let workers = if name == "workers" { number as usize } else { 1 };
                capture.live_options().check(workers).is_ok()
            };
            // 0 workers means one for each CPU.
            let least = if name == "workers" { 1 } else { least };
            assert!(accepts(least) && accepts(most), "{name} from {least} to {most}");
            assert!(!accepts(least - 1) && !accepts(most + 1), "{name} from {least} to {most}");
            if name == "block_bytes" {
                assert!(!accepts(least / 2) && !accepts(most * 2));
            }
        }
    }
}
