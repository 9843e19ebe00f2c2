//! The client's part of GSS-API: one token that proves to a web server who asks (RFC 4559).

use super::{
    Buffer, CONTINUE_NEEDED, Filled, GssError, Gssapi, Handle, Held, IS_ERROR, KERBEROS, KeyValue, KeyValues,
    Oid, OidSet, SPNEGO, oid,
};
use std::ffi::{CStr, c_int, c_void};
use std::ptr::null_mut;

/// 1.2.840.113554.1.2.1.4: a service on a host, `HTTP@host` (RFC 2743, 4.1).
const SERVICE_NAME: &[u8] = b"\x2a\x86\x48\x86\xf7\x12\x01\x02\x01\x04";
const INITIATE: c_int = 1;

pub(super) type InitSecContext = unsafe extern "C" fn(
    *mut u32,
    Handle,
    *mut Handle,
    Handle,
    *mut Oid,
    u32,
    u32,
    *mut c_void,
    *mut Buffer,
    *mut *mut Oid,
    *mut Buffer,
    *mut u32,
    *mut u32,
) -> u32;

impl Gssapi {
    /// A SPNEGO token for the web server of `host`, with the ticket in this cache (`FILE:/path`); none: in the process's own, by KRB5CCNAME. Blocks: the
    /// KDC is asked for a ticket of the service where the cache has none.
    ///
    /// # Errors
    /// [`GssError::OwnKey`] where there is no ticket, [`GssError::Token`] where the KDC gives none for the service.
    pub fn initiate(&self, cache: Option<&CStr>, host: &str) -> Result<Vec<u8>, GssError> {
        let own = self.own_ticket(cache)?;
        let mut server = self.held_name();
        let service = format!("HTTP@{host}");
        let mut text = Buffer {
            length: service.len(),
            // It is read only.
            value: service.as_ptr().cast_mut().cast(),
        };
        let mut kind = oid(SERVICE_NAME);
        let mut minor = 0;
        // SAFETY: every pointer is to something that outlives the call; the name that is made is held by its guard.
        let major = unsafe {
            (self.import_name)(
                &raw mut minor,
                &raw mut text,
                &raw mut kind,
                &raw mut server.handle,
            )
        };
        self.of_server(major, minor)?;
        let mut context = Held::new(self, |gss, minor, handle| {
            // SAFETY: the handle is a context of the library's, which is deleted once.
            unsafe { (gss.delete_sec_context)(minor, handle, null_mut()) }
        });
        let mut token = Filled::new(self);
        let mut mechanism = oid(SPNEGO);
        // SAFETY: as above; the null ones stand for no channel bindings, no token of the server's yet, and for results that are not wanted (RFC 2744,
        // 5.19). What is made is held by the guards.
        let major = unsafe {
            (self.init_sec_context)(
                &raw mut minor,
                own.handle,
                &raw mut context.handle,
                server.handle,
                &raw mut mechanism,
                0,
                0,
                null_mut(),
                null_mut(),
                null_mut(),
                &raw mut token.buffer,
                null_mut(),
                null_mut(),
            )
        };
        // That the server is to answer is said as well: whether it has taken the token its status tells.
        self.of_server(major & !CONTINUE_NEEDED, minor)?;
        Ok(token.bytes().to_vec())
    }

    /// The ticket of a cache.
    fn own_ticket(&self, cache: Option<&CStr>) -> Result<Held<'_>, GssError> {
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
            key: c"ccache".as_ptr(),
            value: cache.map_or(std::ptr::null(), CStr::as_ptr),
        };
        let store = KeyValues {
            count: 1,
            elements: &raw mut place,
        };
        // An empty one is refused.
        let store = cache.map_or(std::ptr::null(), |_| &raw const store);
        let mut minor = 0;
        // SAFETY: every pointer is to something that outlives the call; no name means whose ticket is there, and the null pointers are for results
        // that are not wanted. What is made is held by its guard.
        let major = unsafe {
            (self.acquire_cred_from)(
                &raw mut minor,
                null_mut(),
                0,
                &raw mut kinds,
                INITIATE,
                store,
                &raw mut own.handle,
                null_mut(),
                null_mut(),
            )
        };
        self.own(major, minor)?;
        self.only_kerberos(&own)?;
        Ok(own)
    }

    fn of_server(&self, major: u32, minor: u32) -> Result<(), GssError> {
        if major & IS_ERROR == 0 {
            return Ok(());
        }
        Err(GssError::Token(self.told(major, minor)))
    }
}
