package h2

// Field is one header field to be sent.
type Field struct {
	Name  string // in lower case; pseudo-header fields begin with a colon
	Value string
	// Sensitive keeps the field out of every table on the way (RFC 7541 section 7.1.3). Authorization always is.
	Sensitive bool
}

// size is what f counts for a peer's SETTINGS_MAX_HEADER_LIST_SIZE (RFC 9113 section 6.5.2).
func (f *Field) size() int { return len(f.Name) + len(f.Value) + fieldOverhead }

// fieldOverhead is added to the octets of each field (RFC 9113 section 6.5.2, RFC 7541 section 4.1).
const fieldOverhead = 32
