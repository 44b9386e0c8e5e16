package suite

import "sync"

// spareText is room for what is signed and verified: of private messages that is their plaintext.
var spareText = sync.Pool{New: func() any { return new([]byte) }}

const maxSpareText = 64 << 10

func takeText(n int) *[]byte {
	b := spareText.Get().(*[]byte)
	if cap(*b) < n {
		*b = make([]byte, 0, n)
	}
	return b
}

// giveText wipes the text and gives the room back.
func giveText(b *[]byte) {
	clear(*b)
	if cap(*b) <= maxSpareText {
		spareText.Put(b)
	}
}
