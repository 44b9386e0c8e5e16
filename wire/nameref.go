package wire

import "encoding/binary"

// Tags of Name, EncodedName, NameId and StringName.
const (
	tagEncoded    = 1<<3 | wireBytes // Name.name
	tagStrings    = 2<<3 | wireBytes // Name.str_name
	lastName      = 2
	tagComponent0 = 1<<3 | wireVarint // EncodedName
	tagComponent1 = 2<<3 | wireVarint
	tagComponent2 = 3<<3 | wireVarint
	tagNameID     = 4<<3 | wireBytes
	lastEncoded   = 4
	tagID0        = 1<<3 | wireVarint // NameId, high half
	tagID1        = 2<<3 | wireVarint // NameId, low half
	lastNameID    = 2
	tagStr0       = 1<<3 | wireBytes // StringName
	tagStr1       = 2<<3 | wireBytes
	tagStr2       = 3<<3 | wireBytes
	lastStrings   = 3
)

// NameRef is one Name field of a header. Presence is kept apart from values because the header MAC covers it: an absent
// name_id, a null id and an empty NameId (id zero) are three different things there.
type NameRef struct {
	Name    Name    // zero components where absent; null id where name_id is absent
	Str     [3]Span // StringName's components, in the header bytes
	Present bool    // the Name field itself
	HasName bool    // EncodedName
	HasID   bool    // NameId inside it
	HasStr  bool    // StringName
}

// Strings copies the three strings out of the header bytes h. Without StringName they are empty.
func (n *NameRef) Strings(h []byte) [3]string {
	return [3]string{string(n.Str[0].Of(h)), string(n.Str[1].Of(h)), string(n.Str[2].Of(h))}
}

// HashesMatch reports whether the strings of n hash to its components. A name without strings or without components
// does not match. h are the header bytes that n was parsed from.
func HashesMatch(h []byte, n *NameRef) bool {
	if !n.HasName || !n.HasStr {
		return false
	}
	for i := range n.Str {
		if hash(n.Str[i].Of(h)) != n.Name.C[i] {
			return false
		}
	}
	return true
}

// clear prepares n for merge.
func (n *NameRef) clear() { *n = NameRef{Name: Name{Hi: Null, Lo: Null}} }

// parse reads the Name that is h[i:end] into n, which is overwritten. The bytes from end on are not part of the name,
// but may be loaded.
func (n *NameRef) parse(h []byte, i, end int) error {
	if n.usual(h, i, end) {
		return nil
	}
	n.clear()
	return n.merge(h, i, end)
}

// numberTags are the tags of an EncodedName's five numbers, without that of name_id.
const numberTags = "\x08\x10\x18\x08\x10"

// usual reads a Name if it has the form that names have in practice, in which nothing can be wrong:
//
//	name { component_0, component_1, component_2, name_id { id_0, id_1 } } str_name { three short ASCII strings }
//
// with every number nine or ten bytes long. Otherwise n is left half written. It is merge in a third of the time.
func (n *NameRef) usual(h []byte, i, end int) bool {
	if end-i < 2 || h[i] != tagEncoded {
		return false
	}
	encoded := i + 2 + int(h[i+1]) // lengths of 128 and more fail to add up, or at isASCII
	i += 2
	var v [5]uint64
	for k := range v {
		if k == 3 {
			if i+2 > len(h) || h[i] != tagNameID || i+2+int(h[i+1]) != encoded {
				return false
			}
			i += 2
		}
		p := h[i:]
		if len(p) < 11 || p[0] != numberTags[k] {
			return false
		}
		x := binary.LittleEndian.Uint64(p[1:])
		if x&highBits != highBits || p[9] >= 0x80 && p[10] != 1 {
			return false
		}
		// In a tenth byte only 1 is left to say: bit 63, where the ninth's continuation bit lands.
		v[k] = compact(x) | uint64(p[9])<<56
		i += 10 + int(p[9]>>7)
	}
	if i != encoded || end-i < 2 || h[i] != tagStrings || i+2+int(h[i+1]) != end || !isASCII(h[i:end]) {
		return false
	}
	i += 2
	for k := range n.Str {
		if end-i < 2 || h[i] != byte(k+1)<<3|wireBytes {
			return false
		}
		from := i + 2
		i = from + int(h[i+1]) // beyond end only until the next look
		n.Str[k] = Span{uint32(from), uint32(i)}
	}
	// One by one: a copy of the whole array would wait for its stores.
	n.Name.C[0], n.Name.C[1], n.Name.C[2] = v[0], v[1], v[2]
	n.Name.Hi, n.Name.Lo = v[3], v[4]
	n.Present, n.HasName, n.HasID, n.HasStr = true, true, true, true
	return i == end
}

// merge reads the Name that is h[i:end] into n. Like protobuf it adds to what is there.
func (n *NameRef) merge(h []byte, i, end int) error {
	n.Present = true
	for i < end {
		at, tag := i, h[i]
		i++
		if tag >= 0x80 {
			var err error
			if tag, i, err = longKey(h[:end], at, depthName); err != nil {
				return err
			}
		}
		switch tag {
		case tagEncoded, tagStrings:
			from, to, ok := one(h, i, end)
			if !ok {
				if from, to = chunk(h[:end], i); to < 0 {
					return failure(to)
				}
			}
			i = to
			var err error
			if tag == tagEncoded {
				err = n.mergeEncoded(h, from, to)
			} else {
				err = n.mergeStrings(h, from, to)
			}
			if err != nil {
				return err
			}
		case passed:
		default:
			var err error
			if i, err = unknown(h[:end], tag, i, lastName, depthName); err != nil {
				return err
			}
		}
	}
	return nil
}

func (n *NameRef) mergeEncoded(h []byte, i, end int) error {
	n.HasName = true
	for i < end {
		at, tag := i, h[i]
		i++
		if tag >= 0x80 {
			var err error
			if tag, i, err = longKey(h[:end], at, depthEncoded); err != nil {
				return err
			}
		}
		switch tag {
		case tagComponent0, tagComponent1, tagComponent2:
			v, next := varint(h[:end], i)
			if next < 0 {
				return failure(next)
			}
			i = next
			n.Name.C[tag>>3-1] = v
		case tagNameID:
			from, to, ok := one(h, i, end)
			if !ok {
				if from, to = chunk(h[:end], i); to < 0 {
					return failure(to)
				}
			}
			i = to
			if err := n.mergeID(h, from, to); err != nil {
				return err
			}
		case passed:
		default:
			var err error
			if i, err = unknown(h[:end], tag, i, lastEncoded, depthEncoded); err != nil {
				return err
			}
		}
	}
	return nil
}

func (n *NameRef) mergeID(h []byte, i, end int) error {
	if !n.HasID {
		n.HasID = true
		n.Name.Hi, n.Name.Lo = 0, 0 // proto3 leaves zeros out
	}
	for i < end {
		at, tag := i, h[i]
		i++
		if tag >= 0x80 {
			var err error
			if tag, i, err = longKey(h[:end], at, depthNameID); err != nil {
				return err
			}
		}
		switch tag {
		case tagID0, tagID1:
			v, next := varint(h[:end], i)
			if next < 0 {
				return failure(next)
			}
			i = next
			if tag == tagID0 {
				n.Name.Hi = v
			} else {
				n.Name.Lo = v
			}
		case passed:
		default:
			var err error
			if i, err = unknown(h[:end], tag, i, lastNameID, depthNameID); err != nil {
				return err
			}
		}
	}
	return nil
}

func (n *NameRef) mergeStrings(h []byte, i, end int) error {
	n.HasStr = true
	ascii := isASCII(h[i:end]) // one look at all of it spares three
	for i < end {
		at, tag := i, h[i]
		i++
		if tag >= 0x80 {
			var err error
			if tag, i, err = longKey(h[:end], at, depthEncoded); err != nil {
				return err
			}
		}
		switch tag {
		case tagStr0, tagStr1, tagStr2:
			from, to, ok := one(h, i, end)
			if !ok {
				if from, to = chunk(h[:end], i); to < 0 {
					return failure(to)
				}
			}
			if !ascii && !validUTF8(h[from:to]) {
				return ErrUTF8
			}
			i = to
			n.Str[tag>>3-1] = Span{uint32(from), uint32(to)}
		case passed:
		default:
			var err error
			if i, err = unknown(h[:end], tag, i, lastStrings, depthEncoded); err != nil {
				return err
			}
		}
	}
	return nil
}
