//! Pictures in memory, for the tasks that work on them: decoding within bounds, scaling, and cutting out any
//! quadrilateral as if it were seen from the front.
//!
//! It knows no task and no blob: bytes in, pixels out. The main types are [`Decoded`] and [`Quad`]; pixels are those of
//! the crate `image`, 8 bits for each of red, green and blue.

mod decode;
mod quad;
mod sample;

pub use decode::{DecodeError, Decoded, Format, decode};
pub use image::RgbImage;
pub use quad::{Point, Quad};
pub use sample::{scale_linear, warp};
