package p256

import "math/bits"

// comb is how a scalar is cut up for a table of multiples of a point. All of its digits of one bit are 1 or -1, teeth·columns of them. Those
// that are columns apart are read at once, as the teeth of a comb touch what they touch: they choose an entry of a table. The
// columns are dealt out to blocks with a table each, of depth columns:
//
//	bit s·columns + b·depth + c  =  tooth s, in the table of block b, after c doublings
//
// An entry is the sum of 2^(s·columns + b·depth) times the point for each tooth s, or minus that. The last tooth decides the sign of the
// whole, so that a table has 2^(teeth-1) entries: i is that in which tooth s is negative unless bit s of i is set, but for the last.
type comb struct{ teeth, columns, blocks, depth int }

const maxTeeth = 10

var (
	// memberComb is for keys of members: 256 entries, 16 KiB. A product takes 32 additions and 16 doublings.
	memberComb = comb{teeth: 8, columns: 32, blocks: 2, depth: 16}
	// generatorComb is for the generator, whose table there is once, made beforehand: 1,024 entries, 64 KiB; 26 additions.
	generatorComb = comb{teeth: 10, columns: 26, blocks: 2, depth: 13}
)

// size is the number of entries of all tables.
func (c *comb) size() int { return c.blocks << (c.teeth - 1) }

// table makes the tables of q, one block after the other.
func (c *comb) table(q *affine) []affine {
	// first[s·blocks + b] is 2^(s·columns + b·depth)·q, and after half of them come their doubles.
	n := c.teeth * c.blocks
	first := make([]point, 2*n)
	var p point
	p.set(q)
	at := 0
	for s := range c.teeth {
		for b := range c.blocks {
			for ; at < s*c.columns+b*c.depth; at++ {
				p.double()
			}
			first[s*c.blocks+b] = p
			d := p
			d.double()
			first[n+s*c.blocks+b] = d
		}
	}
	bases := make([]affine, 2*n)
	toAffine(bases, first)

	entries := make([]point, c.size())
	for b := range c.blocks {
		block := entries[b<<(c.teeth-1):][:1<<(c.teeth-1)]
		block[0].set(&bases[(c.teeth-1)*c.blocks+b])
		for s := range c.teeth - 1 {
			minus := bases[s*c.blocks+b]
			minus.negate()
			block[0].add(&minus)
		}
		for i := 1; i < len(block); i++ {
			block[i] = block[i&(i-1)]
			block[i].add(&bases[n+bits.TrailingZeros(uint(i))*c.blocks+b])
		}
	}
	out := make([]affine, len(entries))
	toAffine(out, entries)
	return out
}

func (q *affine) negate() {
	var zero field
	q.y.sub(&zero, &q.y)
}

// digits are those of a scalar, by teeth: bit i is 1 for a digit of 1 and 0 for one of -1.
type digits [maxTeeth]uint64

// split cuts k up. With D digits it is (k + 2^D - 1) / 2 whose bits say which are 1; where k is even, k-n, which is as good,
// takes its place.
func (c *comb) split(d *digits, k *scalar) {
	n := uint(c.teeth * c.columns) // 256 to 319
	var t [6]uint64
	copy(t[:], k[:])
	if k[0]&1 == 0 {
		var b uint64
		t[0], b = bits.Sub64(t[0], n0, 0)
		t[1], b = bits.Sub64(t[1], n1, b)
		t[2], b = bits.Sub64(t[2], n2, b)
		t[3], b = bits.Sub64(t[3], n3, b)
		t[4] = -b
	}
	t[4] += 1 << (n - 256)
	// t is odd: the shift subtracts the 1 as well.
	for i := range 5 {
		t[i] = t[i]>>1 | t[i+1]<<63
	}
	for s := range c.teeth {
		at := uint(s * c.columns)
		row := t[at/64] >> (at % 64)
		if at%64 > 0 {
			row |= t[at/64+1] << (64 - at%64)
		}
		d[s] = row
	}
}

// addColumn adds to r the entries that the digits choose in column i of each block.
func (c *comb) addColumn(r *point, table []affine, d *digits, i int) {
	last := c.teeth - 1
	for b := range c.blocks {
		at := uint(b*c.depth + i)
		var entry uint64
		for s := range last {
			entry |= (d[s] >> at & 1) << s
		}
		if d[last]>>at&1 == 1 {
			r.add(&table[b<<last|int(entry)])
			continue
		}
		q := table[b<<last|int(^entry&(1<<last-1))]
		q.negate()
		r.add(&q)
	}
}
