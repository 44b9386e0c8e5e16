package mls

import (
	"bytes"
	"crypto/rand"
	"reflect"
	"runtime"
	"testing"
	"unsafe"
)

// fieldsOf are the fields of a decoded message that are bytes, numbers or lists of numbers, to be changed.
func fieldsOf(v reflect.Value, all []reflect.Value) []reflect.Value {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			return fieldsOf(v.Elem(), all)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			switch v.Type().Field(i).Name {
			case "raw", "unsigned", "parsed": // of its serialised form, which is made anew
			default:
				f := v.Field(i)
				all = fieldsOf(reflect.NewAt(f.Type(), unsafe.Pointer(f.UnsafeAddr())).Elem(), all)
			}
		}
	case reflect.Slice:
		switch v.Type().Elem().Kind() {
		case reflect.Uint8, reflect.Uint16, reflect.Uint32:
			return append(all, v)
		}
		for i := range v.Len() {
			all = fieldsOf(v.Index(i), all)
		}
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return append(all, v)
	}
	return all
}

// setField puts what it can take of b into a field.
func setField(f reflect.Value, b []byte) {
	if f.Kind() != reflect.Slice {
		var n uint64
		for _, x := range b[:min(len(b), f.Type().Bits()/8)] {
			n = n<<8 | uint64(x)
		}
		f.SetUint(n)
		return
	}
	size := int(f.Type().Elem().Size())
	list := reflect.MakeSlice(f.Type(), len(b)/size, len(b)/size)
	for i := range list.Len() {
		setField(list.Index(i), b[i*size:(i+1)*size])
	}
	f.Set(list)
}

// forgetRaw makes leaves and key packages serialise as their fields say.
func forgetRaw(f *framedContent) {
	clean := func(p Proposal) {
		switch p := p.(type) {
		case *Add:
			p.KeyPackage.raw, p.KeyPackage.Leaf.raw = nil, nil
		case *Update:
			p.Leaf.raw = nil
		}
	}
	clean(f.body.proposal)
	if c := f.body.commit; c != nil {
		for _, p := range c.proposals {
			clean(p.proposal)
		}
		if c.path != nil {
			c.path.leaf.raw = nil
		}
	}
}

// ways in which FuzzFields makes a message whole again.
const (
	unsigned uint8 = iota // the message is what a delivery service makes of it
	signedAgain
	leafSignedAgain // and the message
	fieldWays
)

// A valid message of a real group, in which one field is another: by whoever carries it, or by its maker, who signs it
// again. It is refused with a kind, or it is taken and the group stays what it was until a change is applied; from a
// carrier nothing is taken.
func FuzzFields(f *testing.F) {
	runtime.GOMAXPROCS(1)
	k := newCorpus(f)
	var messages [][]byte
	for _, msg := range k.all {
		if m := parse(f, msg); m.public != nil && m.public.content.sender.Type == SenderMember {
			messages = append(messages, msg)
		}
	}
	victim, makers := k.c.members[2].group, map[LeafIndex]*Group{}
	for _, p := range k.c.members {
		makers[p.group.Own()] = p.group
	}
	for i, msg := range messages {
		m := parse(f, msg)
		for n := range fieldsOf(reflect.ValueOf(m.public), nil) {
			f.Add(uint8(i), uint16(n), []byte{0, 0, 0, 1}, uint8(n)%fieldWays)
			f.Add(uint8(i), uint16(n), []byte{byte(ContentProposal)}, signedAgain) // of another content_type, among others
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, field uint16, value []byte, way uint8) {
		original := messages[int(which)%len(messages)]
		m := parse(t, original).public
		g := makers[m.content.sender.Leaf]
		all, kind := fieldsOf(reflect.ValueOf(m), nil), m.content.kind
		setField(all[int(field)%len(all)], value)
		forgetRaw(&m.content)
		if c := m.content.body.commit; way%fieldWays == leafSignedAgain && c != nil && c.path != nil {
			signLeaf(t, g.suite, c.path.leaf, g.now.signer, g.ID(), g.Own())
		}
		// Not append: content_type may be the field that is another, and then the body is not of it.
		m.raw = m.content.appendFramed(nil, m.content.body.append(nil, kind))
		if way%fieldWays != unsigned {
			text := m.tbs(nil, g.now.raw)
			m.auth.signature = must[[]byte](t)(g.suite.SignWithLabel(rand.Reader, g.now.signer, framedContentLabel, text))
			m = protectPublic(g.suite, &m.authenticated, g.now.secrets.membership.Bytes(), g.now.raw)
		}
		msg := m.append(appendMessageHead(nil, WirePublicMessage))
		before := authenticator(t, victim)
		r, err := victim.Process(msg)
		switch {
		case err != nil && KindOf(err) == 0:
			t.Fatalf("error without a kind: %v", err)
		case err == nil && way%fieldWays == unsigned && !bytes.Equal(msg, original):
			t.Fatalf("taken from a carrier: %x", msg)
		case err == nil && r.Change != nil:
			r.Change.Discard()
		}
		victim.DropPending()
		if !bytes.Equal(before, authenticator(t, victim)) {
			t.Fatal("the group has changed")
		}
	})
}
