//! The instant at which an answer has been handed to the kernel, for the kill points `*.answered`. Without the feature
//! `failpoints` an answer stays as it is.

/// The answer, with a kill point of this name behind its last byte.
#[cfg(not(feature = "failpoints"))]
pub fn answered(_name: &'static str, response: actix_web::HttpResponse) -> actix_web::HttpResponse {
    response
}

#[cfg(feature = "failpoints")]
pub use with_failpoints::answered;

#[cfg(feature = "failpoints")]
mod with_failpoints {
    use std::pin::Pin;
    use std::task::{Context, Poll, ready};

    use actix_web::HttpResponse;
    use actix_web::body::{BodySize, BoxBody, MessageBody};
    use actix_web::web::Bytes;

    /// The answer, with a kill point of this name behind its last byte.
    pub fn answered(name: &'static str, response: HttpResponse) -> HttpResponse {
        response
            .map_body(|_, body| Watched {
                name,
                body,
                is_sent: false,
            })
            .map_into_boxed_body()
    }

    struct Watched {
        name: &'static str,
        body: BoxBody,
        is_sent: bool,
    }

    impl MessageBody for Watched {
        type Error = Box<dyn std::error::Error>;

        fn size(&self) -> BodySize {
            self.body.size()
        }

        fn poll_next(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Bytes, Self::Error>>> {
            if self.is_sent {
                crate::kill_point!(self.name);
                return Poll::Ready(None);
            }
            if let Some(chunk) = ready!(Pin::new(&mut self.body).poll_next(cx)) {
                return Poll::Ready(Some(chunk));
            }
            // A body that has no more for now: actix writes what it has to the socket, then asks again.
            self.is_sent = true;
            cx.waker().wake_by_ref();
            Poll::Pending
        }
    }
}
