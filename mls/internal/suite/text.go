package suite

import "sync"

// spareText is room for what is signed and verified, which is nothing secret.
var spareText = sync.Pool{New: func() any { return new([]byte) }}

const maxSpareText = 64 << 10

func takeText(n int) *[]byte {
	b := spareText.Get().(*[]byte)
	if cap(*b) < n {
		*b = make([]byte, 0, n)
	}
	return b
}

func giveText(b *[]byte) {
	if cap(*b) <= maxSpareText {
		spareText.Put(b)
	}
}
