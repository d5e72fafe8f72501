//! Attention within each text: every token attends to every token of its text. `kernel/attention.rs` computes one head of
//! one text: rotary embeddings of queries and keys, scores, softmax, and the weighted sum of values.

use crate::activations::Activations;
use crate::arithmetic::{ActivationFormat, Arithmetic};
use crate::kernel::attention::{AttentionJob, ScratchLayout};
use crate::rotary::Rotary;
use crate::table::Kernels;
use crate::team::Team;

/// The shape of the attention of a layer.
#[derive(Debug, Clone, Copy)]
pub struct Attention<'a> {
    /// Heads of queries.
    pub heads: usize,
    /// Heads of keys and of values. Each serves `heads / kv_heads` consecutive heads of queries.
    pub kv_heads: usize,
    /// Numbers of a head.
    pub head_dim: usize,
    /// Rotary embedding of queries and keys.
    pub rotary: &'a Rotary,
}

/// Returns the scratch memory of a thread for heads of `head_dim` numbers and texts of at most `tokens` tokens, in words.
pub fn scratch(head_dim: usize, tokens: usize) -> usize {
    let words = |arithmetic| ScratchLayout::new(arithmetic, head_dim, tokens).words;
    words(Arithmetic::F32).max(words(Arithmetic::Bf16))
}

impl Attention<'_> {
    /// Returns the numbers of a token in the input: its queries, keys and values, one after the other.
    pub fn inputs(&self) -> usize {
        (self.heads + 2 * self.kv_heads) * self.head_dim
    }

    /// Computes the attention of a packed batch. Text `i` is the tokens from `cu_seqlens[i]` to `cu_seqlens[i + 1]`. `qkv`
    /// is row-major `[tokens, inputs]`, and `out` receives `[tokens, heads * head_dim]`.
    ///
    /// If `out` is quantized, the rows replace their queries in `qkv` until they are complete: the scale of a row depends
    /// on its maximum.
    ///
    /// # Panics
    /// When sizes do not match.
    #[allow(unsafe_code)]
    pub fn attend(
        self,
        kernels: Kernels,
        team: &mut Team,
        qkv: &mut [f32],
        cu_seqlens: &[u32],
        out: &mut Activations,
    ) {
        let tokens = cu_seqlens.last().map_or(0, |&end| end as usize);
        self.check_sizes(qkv.len(), cu_seqlens, tokens, out);
        let longest = cu_seqlens.windows(2).map(|w| w[1] - w[0]).max().unwrap_or(0) as usize;
        assert!(longest <= self.rotary.positions, "The rotary tables are too short for {longest} tokens.");
        // bfloat16 if it is faster and the layer computes in less than 32 bits anyway.
        let arithmetic = match out.arithmetic() {
            Arithmetic::Bf16 | Arithmetic::Int8 if kernels.multiplies_bf16() => Arithmetic::Bf16,
            _ => Arithmetic::F32,
        };
        let inputs = self.inputs();
        let from = qkv.as_mut_ptr();
        let (to, out_stride, out_format) = match out.format {
            ActivationFormat::QuantizedU8 => (from.cast(), 4 * inputs, ActivationFormat::F32),
            format => (out.data.as_mut_ptr(), out.stride, format),
        };
        let job = AttentionJob {
            heads: self.heads,
            kv_heads: self.kv_heads,
            head_dim: self.head_dim,
            rotary: self.rotary,
            cu_seqlens,
            qkv: from,
            qkv_stride: inputs,
            kernel: kernels.table().tile_kernel(arithmetic),
            arithmetic,
            out: to,
            out_stride,
            out_format,
        };
        let words = ScratchLayout::new(arithmetic, self.head_dim, longest).words;
        team.run((cu_seqlens.len().max(1) - 1) * self.heads, &|task, scratch| {
            assert!(scratch.len() >= words, "The scratch memory is too small for {longest} tokens.");
            let (text, head) = (task / self.heads, task % self.heads);
            // SAFETY: the instruction set is available. The sizes were checked above, and no other task has this text and
            // head.
            unsafe { (kernels.table().attend_head)(&job, text, head, scratch.as_mut_ptr()) };
        });
        if out.format == ActivationFormat::QuantizedU8 {
            kernels.convert_strided_rows(team, (qkv, inputs), tokens, None, out);
        }
    }

    fn check_sizes(&self, qkv_len: usize, cu_seqlens: &[u32], tokens: usize, out: &Activations) {
        let (inputs, width) = (self.inputs(), self.heads * self.head_dim);
        assert!(cu_seqlens.is_sorted(), "cu_seqlens must not decrease.");
        assert!(qkv_len >= tokens * inputs, "qkv must have {tokens} rows of {inputs} numbers.");
        assert!(
            out.rows >= tokens && out.width == width,
            "The output must have {tokens} rows of {width} numbers."
        );
        assert!(
            self.heads.is_multiple_of(self.kv_heads),
            "{} heads cannot share {} heads of keys and values evenly.",
            self.heads,
            self.kv_heads
        );
        assert_eq!(self.rotary.pairs * 2, self.head_dim, "The rotary tables are for another head size.");
    }
}
