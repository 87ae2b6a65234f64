//! Hellos that are not whole: one that is reported without its tail, and one whose first segments another reader took.

use vigie_wire::assembly::Assembly;

use super::{Limits, Stream, current};
use crate::tls::ClientHello;

impl Stream {
    /// Goes on behind the first bytes of a hello. `reported_name` is the [hash](crate::name_hash::name_hash) of its name, or 0, if the
    /// hello was reported.
    pub(crate) fn take_over(
        &mut self,
        bytes: Vec<u8>,
        has_other_hop_limit: bool,
        reported_name: Option<u32>,
        limits: &Limits,
    ) {
        self.assembly = Assembly::of(bytes);
        self.has_other_hop_limit = has_other_hop_limit;
        match reported_name {
            Some(name) => (self.is_done, self.reported_name) = (true, name),
            // A part shows nothing to be reported.
            None => drop(self.parse(limits)),
        }
    }

    /// Whether [`take_partial_hello`](Self::take_partial_hello) may return a hello.
    pub fn has_partial_hello(&self) -> bool {
        !self.is_done && self.stage.as_ref().is_some_and(|stage| stage.hello.is_some())
    }

    /// The hello without its tail, if its name is there and was not reported yet; for the end of a flow. Without a name
    /// the stream goes on, because a FIN or RST may be forged or may have overtaken data.
    pub fn take_partial_hello(&mut self, limits: &Limits) -> Option<ClientHello<'_>> {
        if self.is_done {
            return None;
        }
        let view = self.assembly.contiguous();
        let hello = current(self.stage.as_mut(), view, limits).filter(|hello| hello.server_name().is_some());
        self.is_done = hello.is_some();
        hello
    }
}
