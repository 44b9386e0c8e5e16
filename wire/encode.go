package wire

// PublishHeader is the SLIMHeader of a message that begins its journey here.
type PublishHeader struct {
	Source, Dest NameText
	Identity     string
	Version      string // SLIM version of the originator; nobody checks it
	Fanout, TTL  uint32 // usually 1 and 8; zeros are sent as they are
	MAC          []byte // header_mac; empty: none
}

// AppendSubscribe appends a Message with a Subscribe. id is the subscription_id; 0: no ack wanted.
func AppendSubscribe(dst []byte, h *PublishHeader, id uint64) []byte {
	return appendSubscription(dst, tagSubscribe, h, id)
}

// AppendUnsubscribe appends a Message with an Unsubscribe. id is the subscription_id; 0: no ack wanted.
func AppendUnsubscribe(dst []byte, h *PublishHeader, id uint64) []byte {
	return appendSubscription(dst, tagUnsubscribe, h, id)
}

func appendSubscription(dst []byte, tag byte, h *PublishHeader, id uint64) []byte {
	head := h.size()
	dst = appendVarint(append(dst, tag), uint64(sizeChunk(head.all)+sizeUint(id)))
	dst = h.appendTo(dst, head)
	return appendUint(dst, tagSubID, id)
}

// AppendPublish appends a Message with a Publish. session is an encoded SessionHeader, content an encoded Content; a
// nil slice leaves the field out (a node drops a publish without session).
func AppendPublish(dst []byte, h *PublishHeader, session, content []byte) []byte {
	head := h.size()
	size := sizeChunk(head.all)
	if session != nil {
		size += sizeChunk(len(session))
	}
	if content != nil {
		size += sizeChunk(len(content))
	}
	dst = appendVarint(append(dst, tagPublish), uint64(size))
	dst = h.appendTo(dst, head)
	if session != nil {
		dst = appendVarint(append(dst, tagSession), uint64(len(session)))
		dst = append(dst, session...)
	}
	if content != nil {
		dst = appendVarint(append(dst, tagContent), uint64(len(content)))
		dst = append(dst, content...)
	}
	return dst
}

// headerSizes are the lengths of a header's content and of the names in it.
type headerSizes struct{ all, source, dest int }

func (h *PublishHeader) size() headerSizes {
	s := headerSizes{source: h.Source.size(), dest: h.Dest.size()}
	s.all = sizeChunk(s.source) + sizeChunk(s.dest) + sizeText(len(h.Identity)) + sizeUint(uint64(h.Fanout)) +
		sizeText(len(h.Version)) + sizeUint(uint64(h.TTL)) + sizeText(len(h.MAC))
	return s
}

// appendTo appends the header field with tag and length.
func (h *PublishHeader) appendTo(dst []byte, s headerSizes) []byte {
	dst = appendVarint(append(dst, tagHeader), uint64(s.all))
	dst = h.Source.appendTo(appendVarint(append(dst, tagSource), uint64(s.source)))
	dst = h.Dest.appendTo(appendVarint(append(dst, tagDestination), uint64(s.dest)))
	dst = appendText(dst, tagIdentity, h.Identity)
	dst = appendUint(dst, tagFanout, uint64(h.Fanout))
	dst = appendText(dst, tagVersion, h.Version)
	dst = appendUint(dst, tagTTL, uint64(h.TTL))
	return appendText(dst, tagMAC, h.MAC)
}

// AppendName appends the content of a Name message. The id always goes out, also when it is null.
func AppendName(dst []byte, n *NameText) []byte { return n.appendTo(dst) }

// NameSize is how many bytes AppendName appends.
func NameSize(n *NameText) int { return n.size() }

func (n Name) idSize() int { return sizeUint(n.Hi) + sizeUint(n.Lo) }

func (n Name) size() int {
	return sizeUint(n.C[0]) + sizeUint(n.C[1]) + sizeUint(n.C[2]) + sizeChunk(n.idSize())
}

func (t *NameText) stringsSize() int {
	return sizeText(len(t.Str[0])) + sizeText(len(t.Str[1])) + sizeText(len(t.Str[2]))
}

// size is the length of the content of the Name message.
func (t *NameText) size() int {
	n := sizeChunk(t.Name.size())
	if !t.NoStrings {
		n += sizeChunk(t.stringsSize())
	}
	return n
}

// appendTo appends the content of the Name message. The id always goes out, also when it is null: Rust tells an absent
// name_id from a null one when it compares names.
func (t *NameText) appendTo(dst []byte) []byte {
	n := &t.Name
	dst = appendVarint(append(dst, tagEncoded), uint64(n.size()))
	dst = appendUint(dst, tagComponent0, n.C[0])
	dst = appendUint(dst, tagComponent1, n.C[1])
	dst = appendUint(dst, tagComponent2, n.C[2])
	dst = appendVarint(append(dst, tagNameID), uint64(n.idSize()))
	dst = appendUint(dst, tagID0, n.Hi)
	dst = appendUint(dst, tagID1, n.Lo)
	if t.NoStrings {
		return dst
	}
	dst = appendVarint(append(dst, tagStrings), uint64(t.stringsSize()))
	dst = appendText(dst, tagStr0, t.Str[0])
	dst = appendText(dst, tagStr1, t.Str[1])
	return appendText(dst, tagStr2, t.Str[2])
}
