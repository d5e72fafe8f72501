//! Hidden states to vectors: pooling, the heads and L2 normalization.

pub mod head;
pub mod pooling;
