//! GSS-API (RFC 2743, 2744), as far as a server needs it to look at a client's Kerberos ticket, and to show its own to another (`initiate.rs`). MIT's
//! library is loaded when it is asked for and not linked, so that the server starts on machines without it and is built without its headers.

#[path = "initiate.rs"]
mod initiate;

use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr::null_mut;

use libloading::Library;

/// What the library is called wherever it is MIT's.
const LIBRARY: &str = "libgssapi_krb5.so.2";

/// 1.2.840.113554.1.2.2: Kerberos 5 (RFC 4121).
const KERBEROS: &[u8] = b"\x2a\x86\x48\x86\xf7\x12\x01\x02\x02";
/// 1.3.6.1.5.5.2: SPNEGO (RFC 4178).
const SPNEGO: &[u8] = b"\x2b\x06\x01\x05\x05\x02";
/// 1.2.840.113554.1.2.2.1: a principal's name with its realm (RFC 1964, 2.1.1).
const PRINCIPAL_NAME: &[u8] = b"\x2a\x86\x48\x86\xf7\x12\x01\x02\x02\x01";

const ACCEPT: c_int = 2;
const GSS_CODE: c_int = 1;
const MECHANISM_CODE: c_int = 2;
const CONTINUE_NEEDED: u32 = 1;
const IS_ERROR: u32 = 0xffff_0000;
const ANONYMOUS: u32 = 64;

/// The most messages of one error that are told.
const MOST_MESSAGES: usize = 4;

#[repr(C)]
struct Buffer {
    length: usize,
    value: *mut c_void,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Oid {
    length: u32,
    elements: *mut c_void,
}

#[repr(C)]
struct OidSet {
    count: usize,
    elements: *mut Oid,
}

#[repr(C)]
struct KeyValue {
    key: *const c_char,
    value: *const c_char,
}

#[repr(C)]
struct KeyValues {
    count: u32,
    elements: *mut KeyValue,
}

/// A name, a credential or a context: the library's own.
type Handle = *mut c_void;

type ImportName = unsafe extern "C" fn(*mut u32, *mut Buffer, *mut Oid, *mut Handle) -> u32;
type AcquireCredFrom = unsafe extern "C" fn(
    *mut u32,
    Handle,
    u32,
    *mut OidSet,
    c_int,
    *const KeyValues,
    *mut Handle,
    *mut *mut OidSet,
    *mut u32,
) -> u32;
type SetNegMechs = unsafe extern "C" fn(*mut u32, Handle, *const OidSet) -> u32;
type AcceptSecContext = unsafe extern "C" fn(
    *mut u32,
    *mut Handle,
    Handle,
    *mut Buffer,
    *mut c_void,
    *mut Handle,
    *mut *mut Oid,
    *mut Buffer,
    *mut u32,
    *mut u32,
    *mut Handle,
) -> u32;
type DisplayName = unsafe extern "C" fn(*mut u32, Handle, *mut Buffer, *mut *mut Oid) -> u32;
type DisplayStatus = unsafe extern "C" fn(*mut u32, u32, c_int, *mut Oid, *mut u32, *mut Buffer) -> u32;
type ReleaseBuffer = unsafe extern "C" fn(*mut u32, *mut Buffer) -> u32;
type Release = unsafe extern "C" fn(*mut u32, *mut Handle) -> u32;
type DeleteSecContext = unsafe extern "C" fn(*mut u32, *mut Handle, *mut Buffer) -> u32;

/// The library, loaded. Its functions may be called by several threads at once.
pub struct Gssapi {
    import_name: ImportName,
    acquire_cred_from: AcquireCredFrom,
    set_neg_mechs: SetNegMechs,
    accept_sec_context: AcceptSecContext,
    init_sec_context: initiate::InitSecContext,
    display_name: DisplayName,
    display_status: DisplayStatus,
    release_buffer: ReleaseBuffer,
    release_name: Release,
    release_cred: Release,
    delete_sec_context: DeleteSecContext,
    /// Stays loaded for as long as its functions can be called.
    _library: Library,
}

/// A client that has proved itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// Its principal with the realm, such as `alice@EXAMPLE.COM`.
    pub client: String,
    /// What proves the server to it; empty where it did not ask for that.
    pub answer: Vec<u8>,
}

/// Why there is no client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GssError {
    /// The server's own key or ticket can't be used.
    #[error("{0}")]
    OwnKey(String),
    /// The token proves nothing, or there is none for a service.
    #[error("{0}")]
    Token(String),
}

impl Gssapi {
    /// Loads the library.
    ///
    /// # Errors
    /// It is not installed, or lacks a function.
    pub fn load() -> Result<Self, libloading::Error> {
        // SAFETY: what loading runs are the library's own initialisers, which may run at any time and on any thread.
        let library = unsafe { Library::new(LIBRARY)? };
        /// A function by its name.
        ///
        /// # Safety
        /// `F` is that function's type.
        unsafe fn named<F: Copy>(library: &Library, name: &[u8]) -> Result<F, libloading::Error> {
            // SAFETY: the caller knows the type.
            unsafe { library.get::<F>(name).map(|found| *found) }
        }
        // SAFETY: each type is that of gssapi.h and gssapi_ext.h of MIT Kerberos 1.11 and later.
        unsafe {
            Ok(Self {
                import_name: named(&library, b"gss_import_name\0")?,
                acquire_cred_from: named(&library, b"gss_acquire_cred_from\0")?,
                set_neg_mechs: named(&library, b"gss_set_neg_mechs\0")?,
                accept_sec_context: named(&library, b"gss_accept_sec_context\0")?,
                init_sec_context: named(&library, b"gss_init_sec_context\0")?,
                display_name: named(&library, b"gss_display_name\0")?,
                display_status: named(&library, b"gss_display_status\0")?,
                release_buffer: named(&library, b"gss_release_buffer\0")?,
                release_name: named(&library, b"gss_release_name\0")?,
                release_cred: named(&library, b"gss_release_cred\0")?,
                delete_sec_context: named(&library, b"gss_delete_sec_context\0")?,
                _library: library,
            })
        }
    }

    /// Looks whether the keytab has the key of this principal (with its realm).
    ///
    /// # Errors
    /// [`GssError::OwnKey`].
    pub fn look_at_key(&self, keytab: &CStr, principal: &CStr) -> Result<(), GssError> {
        self.own_key(keytab, principal).map(drop)
    }

    /// Looks at a client's first token, which is its ticket for this principal, bare or within SPNEGO. The library remembers tickets, so that none
    /// counts twice. Blocks: it reads the keytab and the file of what was seen.
    ///
    /// # Errors
    /// [`GssError`]. A token that would need another round is refused: it is no Kerberos ticket.
    pub fn accept(&self, keytab: &CStr, principal: &CStr, token: &[u8]) -> Result<Accepted, GssError> {
        let own = self.own_key(keytab, principal)?;
        let mut context = Held::new(self, |gss, minor, handle| {
            // SAFETY: the handle is a context of the library's, which is deleted once.
            unsafe { (gss.delete_sec_context)(minor, handle, null_mut()) }
        });
        let mut client = self.held_name();
        let mut answer = Filled::new(self);
        let mut token = Buffer {
            length: token.len(),
            // It is read only.
            value: token.as_ptr().cast_mut().cast(),
        };
        let (mut minor, mut flags) = (0, 0);
        let mut mechanism: *mut Oid = null_mut();
        // SAFETY: every pointer is to something that outlives the call; the null ones stand for no channel bindings, no lifetime and no
        // delegated credential, as RFC 2744, 5.1 has them. What is made is held by the guards.
        let major = unsafe {
            (self.accept_sec_context)(
                &raw mut minor,
                &raw mut context.handle,
                own.handle,
                &raw mut token,
                null_mut(),
                &raw mut client.handle,
                &raw mut mechanism,
                &raw mut answer.buffer,
                &raw mut flags,
                null_mut(),
                null_mut(),
            )
        };
        if major & IS_ERROR != 0 {
            return Err(GssError::Token(self.told(major, minor)));
        }
        if major & CONTINUE_NEEDED != 0 {
            return Err(GssError::Token("it is no Kerberos ticket".to_owned()));
        }
        // SAFETY: the library gives the mechanism as a pointer to an OID of its own that is never freed.
        let is_kerberos = unsafe { mechanism.as_ref() }.is_some_and(|mechanism| {
            let length = mechanism.length as usize;
            // SAFETY: an OID's elements are so many bytes.
            length == KERBEROS.len() && unsafe { bytes(mechanism.elements, length) } == KERBEROS
        });
        if !is_kerberos || flags & ANONYMOUS != 0 || client.handle.is_null() {
            return Err(GssError::Token("it is of nobody by name".to_owned()));
        }
        Ok(Accepted {
            client: self.name(&client)?,
            answer: answer.bytes().to_vec(),
        })
    }

    /// The server's credential.
    fn own_key(&self, keytab: &CStr, principal: &CStr) -> Result<Held<'_>, GssError> {
        let mut name = self.held_name();
        let mut text = Buffer {
            length: principal.to_bytes().len(),
            // It is read only.
            value: principal.as_ptr().cast_mut().cast(),
        };
        let mut kind = oid(PRINCIPAL_NAME);
        let mut minor = 0;
        // SAFETY: every pointer is to something that outlives the call; the name that is made is held by its guard.
        let major =
            unsafe { (self.import_name)(&raw mut minor, &raw mut text, &raw mut kind, &raw mut name.handle) };
        self.own(major, minor)?;

        let mut own = Held::new(self, |gss, minor, handle| {
            // SAFETY: the handle is a credential of the library's, which is released once.
            unsafe { (gss.release_cred)(minor, handle) }
        });
        let mut kinds = [oid(KERBEROS), oid(SPNEGO)];
        let mut kinds = OidSet {
            count: kinds.len(),
            elements: kinds.as_mut_ptr(),
        };
        let mut place = KeyValue {
            key: c"keytab".as_ptr(),
            value: keytab.as_ptr(),
        };
        let store = KeyValues {
            count: 1,
            elements: &raw mut place,
        };
        // SAFETY: as above; the library copies the sets, and the null pointers are for results that are not wanted.
        let major = unsafe {
            (self.acquire_cred_from)(
                &raw mut minor,
                name.handle,
                0,
                &raw mut kinds,
                ACCEPT,
                &raw const store,
                &raw mut own.handle,
                null_mut(),
                null_mut(),
            )
        };
        self.own(major, minor)?;

        self.only_kerberos(&own)?;
        Ok(own)
    }

    /// Has SPNEGO speak of Kerberos alone with a credential.
    fn only_kerberos(&self, own: &Held<'_>) -> Result<(), GssError> {
        let (mut within, mut minor) = (oid(KERBEROS), 0);
        let within = OidSet {
            count: 1,
            elements: &raw mut within,
        };
        // SAFETY: the handle is a credential of the library's, which copies the set.
        let major = unsafe { (self.set_neg_mechs)(&raw mut minor, own.handle, &raw const within) };
        self.own(major, minor)
    }

    fn own(&self, major: u32, minor: u32) -> Result<(), GssError> {
        if major & IS_ERROR == 0 {
            return Ok(());
        }
        Err(GssError::OwnKey(self.told(major, minor)))
    }

    fn held_name(&self) -> Held<'_> {
        Held::new(self, |gss, minor, handle| {
            // SAFETY: the handle is a name of the library's, which is released once.
            unsafe { (gss.release_name)(minor, handle) }
        })
    }

    fn name(&self, name: &Held<'_>) -> Result<String, GssError> {
        let mut text = Filled::new(self);
        let mut minor = 0;
        // SAFETY: the name is the library's; the kind of name is not wanted.
        let major =
            unsafe { (self.display_name)(&raw mut minor, name.handle, &raw mut text.buffer, null_mut()) };
        if major & IS_ERROR != 0 {
            return Err(GssError::Token(self.told(major, minor)));
        }
        String::from_utf8(text.bytes().to_vec())
            .map_err(|_| GssError::Token("its name is no text".to_owned()))
    }

    /// An error in the library's words.
    fn told(&self, major: u32, minor: u32) -> String {
        let mut texts = Vec::new();
        for (status, kind) in [(major, GSS_CODE), (minor, MECHANISM_CODE)] {
            let mut more = 0;
            for _ in 0..MOST_MESSAGES {
                let mut text = Filled::new(self);
                let (mut ignored, mut mechanism) = (0, oid(KERBEROS));
                // SAFETY: every pointer is to something that outlives the call; the text is held by its guard.
                let shown = unsafe {
                    (self.display_status)(
                        &raw mut ignored,
                        status,
                        kind,
                        &raw mut mechanism,
                        &raw mut more,
                        &raw mut text.buffer,
                    )
                };
                if shown & IS_ERROR == 0 && status != 0 {
                    texts.push(String::from_utf8_lossy(text.bytes()).into_owned());
                }
                if more == 0 {
                    break;
                }
            }
        }
        texts.join(": ")
    }
}

impl std::fmt::Debug for Gssapi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gssapi").finish_non_exhaustive()
    }
}

const fn oid(bytes: &'static [u8]) -> Oid {
    Oid {
        // Each is a few bytes long.
        #[expect(
            clippy::cast_possible_truncation,
            reason = "an OID above has ten bytes at most"
        )]
        length: bytes.len() as u32,
        // It is read only.
        elements: bytes.as_ptr().cast_mut().cast(),
    }
}

/// # Safety
/// So many bytes are there, for as long as the result is used; where there are none the pointer may be anything.
const unsafe fn bytes<'a>(start: *const c_void, length: usize) -> &'a [u8] {
    if length == 0 || start.is_null() {
        return &[];
    }
    // SAFETY: the caller says so.
    unsafe { std::slice::from_raw_parts(start.cast(), length) }
}

type Ending = fn(&Gssapi, *mut u32, *mut Handle) -> u32;

/// Something of the library's, given back in the end.
struct Held<'gss> {
    gss: &'gss Gssapi,
    handle: Handle,
    ending: Ending,
}

impl<'gss> Held<'gss> {
    const fn new(gss: &'gss Gssapi, ending: Ending) -> Self {
        Self {
            gss,
            handle: null_mut(),
            ending,
        }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if !self.handle.is_null() {
            (self.ending)(self.gss, &mut 0, &raw mut self.handle);
        }
    }
}

/// A buffer that the library fills, and that is given back to it in the end.
struct Filled<'gss> {
    gss: &'gss Gssapi,
    buffer: Buffer,
}

impl<'gss> Filled<'gss> {
    const fn new(gss: &'gss Gssapi) -> Self {
        let buffer = Buffer {
            length: 0,
            value: null_mut(),
        };
        Self { gss, buffer }
    }

    fn bytes(&self) -> &[u8] {
        // SAFETY: the library has put so many bytes there, which are its own until the buffer is released.
        unsafe { bytes(self.buffer.value, self.buffer.length) }
    }
}

impl Drop for Filled<'_> {
    fn drop(&mut self) {
        // SAFETY: the buffer is empty or the library's, and is released once.
        unsafe { (self.gss.release_buffer)(&mut 0, &raw mut self.buffer) };
    }
}
