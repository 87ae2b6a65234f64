//! What a program adds to its table of settings.

use crate::{ConfigErrors, Layers, Loaded, Machine, Review, Table, layers};

/// How a program, its file and its variables are called.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// The program, such as `vigie`; its command `generate config` prints the default file, `check` checks it.
    pub name: &'static str,
    /// The file that is read if no other is given; it need not exist.
    pub file_default: &'static str,
    /// What variables of settings begin with, such as `VIGIE` for `VIGIE_LOG__LEVEL`.
    pub variable_prefix: &'static str,
    /// Other variables for settings, with their keys. The regular variable wins.
    pub variable_aliases: &'static [(&'static str, &'static str)],
    /// Variables that have the prefix but are not settings.
    pub other_variables: &'static [&'static str],
    /// A key and a value that serve as example.
    pub example: (&'static str, &'static str),
}

impl Program {
    /// The variable of a key.
    pub(crate) fn variable(&self, key: &str) -> String {
        format!("{}_{}", self.variable_prefix, key.replace('.', "__").to_uppercase())
    }
}

/// The configuration of a program: its table, and what the table cannot say.
pub trait Schema: Table {
    /// How the program, its file and its variables are called.
    const PROGRAM: Program;

    /// Lists of tables (`[[name]]`) that may stand in the file beside the settings. The program reads them itself, from
    /// the text in [`Loaded::text`](crate::Loaded::text).
    const LISTS: &'static [&'static str] = &[];

    /// Works out settings that depend on the machine and on other settings.
    fn resolve(&mut self, machine: &Machine);

    /// Reports combinations of settings that are impossible or probably not intended.
    fn check(review: &mut Review<'_, Self>);

    /// The defaults on this machine.
    fn defaults(machine: &Machine) -> Self {
        let mut settings = Self::table_defaults();
        settings.resolve(machine);
        settings
    }

    /// Reads all layers.
    ///
    /// # Errors
    /// Everything that is wrong, in the order of layers and lines, including the warnings.
    fn load(layers: &Layers) -> Result<Loaded<Self>, ConfigErrors> {
        layers::load(layers)
    }
}
