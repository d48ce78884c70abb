//! How a file is opened.

use std::fs as std_fs;
use std::io;
#[cfg(unix)]
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::File;
use crate::blocking;

/// How a file is opened; as [`std::fs::OpenOptions`].
///
/// ```
/// use openwork::fs::OpenOptions;
/// let refused = OpenOptions::new().write(true).create_new(true).open("Cargo.toml");
/// assert_eq!(refused.unwrap_err().kind(), std::io::ErrorKind::AlreadyExists);
/// ```
#[derive(Clone, Debug)]
pub struct OpenOptions {
    options: std_fs::OpenOptions,
}

impl Default for OpenOptions {
    fn default() -> OpenOptions {
        OpenOptions::new()
    }
}

impl OpenOptions {
    /// Nothing allowed.
    ///
    /// ```
    /// use openwork::fs::OpenOptions;
    /// assert!(OpenOptions::new().open("Cargo.toml").is_err(), "neither read nor write");
    /// ```
    pub fn new() -> OpenOptions {
        OpenOptions {
            options: std_fs::OpenOptions::new(),
        }
    }

    /// Whether to read.
    ///
    /// ```
    /// use openwork::fs::OpenOptions;
    /// assert!(OpenOptions::new().read(true).open("Cargo.toml").is_ok());
    /// ```
    pub fn read(&mut self, read: bool) -> &mut OpenOptions {
        self.options.read(read);
        self
    }

    /// Whether to write.
    ///
    /// ```
    /// use openwork::fs::OpenOptions;
    /// let path = std::env::temp_dir().join(format!("openwork-doc-ow-{}", std::process::id()));
    /// assert!(OpenOptions::new().write(true).create(true).open(&path).is_ok());
    /// # openwork::fs::remove_file(&path).unwrap();
    /// ```
    pub fn write(&mut self, write: bool) -> &mut OpenOptions {
        self.options.write(write);
        self
    }

    /// Whether each write goes to the end.
    ///
    /// ```
    /// use openwork::fs::OpenOptions;
    /// use std::io::Write;
    /// let path = std::env::temp_dir().join(format!("openwork-doc-oa-{}", std::process::id()));
    /// openwork::fs::write(&path, "one ").unwrap();
    /// OpenOptions::new().append(true).open(&path).unwrap().write_all(b"two").unwrap();
    /// assert_eq!(openwork::fs::read(&path).unwrap(), b"one two");
    /// # openwork::fs::remove_file(&path).unwrap();
    /// ```
    pub fn append(&mut self, append: bool) -> &mut OpenOptions {
        self.options.append(append);
        self
    }

    /// Whether what the file holds is dropped.
    ///
    /// ```
    /// use openwork::fs::OpenOptions;
    /// let path = std::env::temp_dir().join(format!("openwork-doc-ot-{}", std::process::id()));
    /// openwork::fs::write(&path, "text").unwrap();
    /// OpenOptions::new().write(true).truncate(true).open(&path).unwrap();
    /// assert!(openwork::fs::read(&path).unwrap().is_empty());
    /// # openwork::fs::remove_file(&path).unwrap();
    /// ```
    pub fn truncate(&mut self, truncate: bool) -> &mut OpenOptions {
        self.options.truncate(truncate);
        self
    }

    /// Whether the file is made if there is none.
    ///
    /// ```
    /// use openwork::fs::OpenOptions;
    /// let path = std::env::temp_dir().join(format!("openwork-doc-oc-{}", std::process::id()));
    /// assert!(OpenOptions::new().write(true).open(&path).is_err());
    /// assert!(OpenOptions::new().write(true).create(true).open(&path).is_ok());
    /// # openwork::fs::remove_file(&path).unwrap();
    /// ```
    pub fn create(&mut self, create: bool) -> &mut OpenOptions {
        self.options.create(create);
        self
    }

    /// Whether the file must be new.
    ///
    /// ```
    /// use openwork::fs::OpenOptions;
    /// assert!(OpenOptions::new().write(true).create_new(true).open("Cargo.toml").is_err());
    /// ```
    pub fn create_new(&mut self, create_new: bool) -> &mut OpenOptions {
        self.options.create_new(create_new);
        self
    }

    /// The mode of a file that is made; before the process's mask.
    ///
    /// ```
    /// use openwork::fs::OpenOptions;
    /// use std::os::unix::fs::PermissionsExt;
    /// let path = std::env::temp_dir().join(format!("openwork-doc-om-{}", std::process::id()));
    /// let file = OpenOptions::new().write(true).create(true).mode(0o600).open(&path).unwrap();
    /// assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    /// # openwork::fs::remove_file(&path).unwrap();
    /// ```
    #[cfg(unix)]
    pub fn mode(&mut self, mode: u32) -> &mut OpenOptions {
        self.options.mode(mode);
        self
    }

    /// Further flags of `open(2)`.
    ///
    /// ```
    /// use openwork::fs::OpenOptions;
    /// const O_DIRECTORY: i32 = 0o200000;
    /// let no_folder = OpenOptions::new().read(true).custom_flags(O_DIRECTORY).open("Cargo.toml");
    /// # #[cfg(target_arch = "x86_64")]
    /// assert!(no_folder.is_err());
    /// ```
    #[cfg(unix)]
    pub fn custom_flags(&mut self, flags: i32) -> &mut OpenOptions {
        self.options.custom_flags(flags);
        self
    }

    /// Opens the file.
    ///
    /// ```
    /// use openwork::fs::OpenOptions;
    /// assert!(OpenOptions::new().read(true).open("no such file").is_err());
    /// ```
    ///
    /// # Errors
    /// As [`std::fs::OpenOptions::open`].
    pub fn open(&self, path: impl AsRef<Path>) -> io::Result<File> {
        let path = path.as_ref();
        blocking::io(|| self.options.open(path)).map(File::from)
    }
}
