#include "textflag.h"

// SHA-256 (FIPS 180-4 section 6.2.2) with the SHA extensions of x86.
//
// Between blocks a state is two registers: ABEF holds the working variables f, e, b, a, the first in the lowest word,
// CDGH holds h, g, d, c. SHA256RNDS2 does two rounds on them and leaves the new ABEF where CDGH was; the new CDGH is the
// old ABEF. So four rounds are two of it with the registers exchanged, and both are in their places again.
//
// A message register holds four words of the schedule, Wt in its lowest.

// The constants of section 4.2.2.
DATA k256<>+0x00(SB)/8, $0x71374491428a2f98
DATA k256<>+0x08(SB)/8, $0xe9b5dba5b5c0fbcf
DATA k256<>+0x10(SB)/8, $0x59f111f13956c25b
DATA k256<>+0x18(SB)/8, $0xab1c5ed5923f82a4
DATA k256<>+0x20(SB)/8, $0x12835b01d807aa98
DATA k256<>+0x28(SB)/8, $0x550c7dc3243185be
DATA k256<>+0x30(SB)/8, $0x80deb1fe72be5d74
DATA k256<>+0x38(SB)/8, $0xc19bf1749bdc06a7
DATA k256<>+0x40(SB)/8, $0xefbe4786e49b69c1
DATA k256<>+0x48(SB)/8, $0x240ca1cc0fc19dc6
DATA k256<>+0x50(SB)/8, $0x4a7484aa2de92c6f
DATA k256<>+0x58(SB)/8, $0x76f988da5cb0a9dc
DATA k256<>+0x60(SB)/8, $0xa831c66d983e5152
DATA k256<>+0x68(SB)/8, $0xbf597fc7b00327c8
DATA k256<>+0x70(SB)/8, $0xd5a79147c6e00bf3
DATA k256<>+0x78(SB)/8, $0x1429296706ca6351
DATA k256<>+0x80(SB)/8, $0x2e1b213827b70a85
DATA k256<>+0x88(SB)/8, $0x53380d134d2c6dfc
DATA k256<>+0x90(SB)/8, $0x766a0abb650a7354
DATA k256<>+0x98(SB)/8, $0x92722c8581c2c92e
DATA k256<>+0xa0(SB)/8, $0xa81a664ba2bfe8a1
DATA k256<>+0xa8(SB)/8, $0xc76c51a3c24b8b70
DATA k256<>+0xb0(SB)/8, $0xd6990624d192e819
DATA k256<>+0xb8(SB)/8, $0x106aa070f40e3585
DATA k256<>+0xc0(SB)/8, $0x1e376c0819a4c116
DATA k256<>+0xc8(SB)/8, $0x34b0bcb52748774c
DATA k256<>+0xd0(SB)/8, $0x4ed8aa4a391c0cb3
DATA k256<>+0xd8(SB)/8, $0x682e6ff35b9cca4f
DATA k256<>+0xe0(SB)/8, $0x78a5636f748f82ee
DATA k256<>+0xe8(SB)/8, $0x8cc7020884c87814
DATA k256<>+0xf0(SB)/8, $0xa4506ceb90befffa
DATA k256<>+0xf8(SB)/8, $0xc67178f2bef9a3f7
GLOBL k256<>(SB), NOPTR|RODATA, $256

// Reverses the bytes of each word: message words are big-endian.
DATA swap<>+0(SB)/8, $0x0405060700010203
DATA swap<>+8(SB)/8, $0x0c0d0e0f08090a0b
GLOBL swap<>(SB), NOPTR|RODATA, $16

// Reverses all bytes.
DATA reverse<>+0(SB)/8, $0x08090a0b0c0d0e0f
DATA reverse<>+8(SB)/8, $0x0001020304050607
GLOBL reverse<>(SB), NOPTR|RODATA, $16

#define MASK X14
#define TMP  X13

// The four words at p+off, through MASK, into m.
#define LOAD(p, off, m) \
	MOVOU  off(p), m; \
	PSHUFB MASK, m

// Four rounds with the words in m and the constants at AX+off. SHA256RNDS2 takes two sums from the low half of X0.
#define ROUNDS(off, m, abef, cdgh) \
	MOVOU       off(AX), X0;    \
	PADDL       m, X0;          \
	SHA256RNDS2 X0, abef, cdgh; \
	PSHUFD      $0x0e, X0, X0;  \
	SHA256RNDS2 X0, cdgh, abef

// The next four words of the schedule into m0, which held W(t-16..t-13); m1, m2, m3 hold the twelve behind them.
#define SCHEDULE(m0, m1, m2, m3) \
	SHA256MSG1 m1, m0;      \ // + sigma0(W(t-15))
	MOVO       m3, TMP;     \
	PALIGNR    $4, m2, TMP; \
	PADDL      TMP, m0;     \ // + W(t-7)
	SHA256MSG2 m3, m0 // + sigma1(W(t-2))

// Adds the state at h, from before the block, and puts the sum there.
#define FEED(h, abef, cdgh) \
	MOVOU 0(h), X0;    \
	PADDL X0, abef;    \
	MOVOU abef, 0(h);  \
	MOVOU 16(h), X0;   \
	PADDL X0, cdgh;    \
	MOVOU cdgh, 16(h)

#define STEP(off, m0, m1, m2, m3) \
	SCHEDULE(m0, m1, m2, m3); \
	ROUNDS(off, m0, X1, X2)

// func block(h *[8]uint32, p []byte)
TEXT ·block(SB), NOSPLIT, $0-32
	MOVQ  h+0(FP), DI
	MOVQ  p_base+8(FP), SI
	MOVQ  p_len+16(FP), DX
	SHRQ  $6, DX
	JZ    done
	LEAQ  k256<>(SB), AX
	MOVOU swap<>(SB), MASK
	MOVOU 0(DI), X1
	MOVOU 16(DI), X2

loop:
	LOAD(SI, 0, X3)
	ROUNDS(0x00, X3, X1, X2)
	LOAD(SI, 16, X4)
	ROUNDS(0x10, X4, X1, X2)
	LOAD(SI, 32, X5)
	ROUNDS(0x20, X5, X1, X2)
	LOAD(SI, 48, X6)
	ROUNDS(0x30, X6, X1, X2)
	STEP(0x40, X3, X4, X5, X6)
	STEP(0x50, X4, X5, X6, X3)
	STEP(0x60, X5, X6, X3, X4)
	STEP(0x70, X6, X3, X4, X5)
	STEP(0x80, X3, X4, X5, X6)
	STEP(0x90, X4, X5, X6, X3)
	STEP(0xa0, X5, X6, X3, X4)
	STEP(0xb0, X6, X3, X4, X5)
	STEP(0xc0, X3, X4, X5, X6)
	STEP(0xd0, X4, X5, X6, X3)
	STEP(0xe0, X5, X6, X3, X4)
	STEP(0xf0, X6, X3, X4, X5)
	FEED(DI, X1, X2)
	ADDQ $64, SI
	DECQ DX
	JNZ  loop

done:
	RET

// Four rounds of both streams. They know nothing of each other, so one fills the time in which the other's SHA256RNDS2
// waits for its own last result.
#define ROUNDS2(off, ma, mb) \
	ROUNDS(off, ma, X1, X2); \
	ROUNDS(off, mb, X7, X8)

#define STEP2(off, a0, a1, a2, a3, b0, b1, b2, b3) \
	SCHEDULE(a0, a1, a2, a3); \
	SCHEDULE(b0, b1, b2, b3); \
	ROUNDS2(off, a0, b0)

// func block2(h0, h1 *[8]uint32, p0, p1 *byte, n int)
TEXT ·block2(SB), NOSPLIT, $0-40
	MOVQ  h0+0(FP), DI
	MOVQ  h1+8(FP), R8
	MOVQ  p0+16(FP), SI
	MOVQ  p1+24(FP), R9
	MOVQ  n+32(FP), DX
	TESTQ DX, DX
	JLE   done
	LEAQ  k256<>(SB), AX
	MOVOU swap<>(SB), MASK
	MOVOU 0(DI), X1
	MOVOU 16(DI), X2
	MOVOU 0(R8), X7
	MOVOU 16(R8), X8

loop:
	LOAD(SI, 0, X3)
	LOAD(R9, 0, X9)
	ROUNDS2(0x00, X3, X9)
	LOAD(SI, 16, X4)
	LOAD(R9, 16, X10)
	ROUNDS2(0x10, X4, X10)
	LOAD(SI, 32, X5)
	LOAD(R9, 32, X11)
	ROUNDS2(0x20, X5, X11)
	LOAD(SI, 48, X6)
	LOAD(R9, 48, X12)
	ROUNDS2(0x30, X6, X12)
	STEP2(0x40, X3, X4, X5, X6, X9, X10, X11, X12)
	STEP2(0x50, X4, X5, X6, X3, X10, X11, X12, X9)
	STEP2(0x60, X5, X6, X3, X4, X11, X12, X9, X10)
	STEP2(0x70, X6, X3, X4, X5, X12, X9, X10, X11)
	STEP2(0x80, X3, X4, X5, X6, X9, X10, X11, X12)
	STEP2(0x90, X4, X5, X6, X3, X10, X11, X12, X9)
	STEP2(0xa0, X5, X6, X3, X4, X11, X12, X9, X10)
	STEP2(0xb0, X6, X3, X4, X5, X12, X9, X10, X11)
	STEP2(0xc0, X3, X4, X5, X6, X9, X10, X11, X12)
	STEP2(0xd0, X4, X5, X6, X3, X10, X11, X12, X9)
	STEP2(0xe0, X5, X6, X3, X4, X11, X12, X9, X10)
	STEP2(0xf0, X6, X3, X4, X5, X12, X9, X10, X11)
	FEED(DI, X1, X2)
	FEED(R8, X7, X8)
	ADDQ $64, SI
	ADDQ $64, R9
	DECQ DX
	JNZ  loop

done:
	RET

// func sum(dst *[32]byte, h *[8]uint32)
TEXT ·sum(SB), NOSPLIT, $0-16
	MOVQ       dst+0(FP), DI
	MOVQ       h+8(FP), SI
	MOVOU      reverse<>(SB), MASK
	MOVOU      0(SI), X1       // f e b a
	MOVOU      16(SI), X2      // h g d c
	MOVO       X2, X3
	PUNPCKHQDQ X1, X2          // d c b a
	PUNPCKLQDQ X1, X3          // h g f e
	PSHUFB     MASK, X2
	PSHUFB     MASK, X3
	MOVOU      X2, 0(DI)
	MOVOU      X3, 16(DI)
	RET

// func cpuid(leaf, sub uint32) (eax, ebx, ecx, edx uint32)
TEXT ·cpuid(SB), NOSPLIT, $0-24
	MOVL leaf+0(FP), AX
	MOVL sub+4(FP), CX
	CPUID
	MOVL AX, eax+8(FP)
	MOVL BX, ebx+12(FP)
	MOVL CX, ecx+16(FP)
	MOVL DX, edx+20(FP)
	RET
