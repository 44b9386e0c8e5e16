package agent

import (
	"errors"

	"github.com/seed31b3bfd0/slimgo/wire"
	"github.com/seed31b3bfd0/slimgo/wire/pb"
	"github.com/seed31b3bfd0/slimgo/wire/pb/controllerpb"
)

// maxStrings bounds the strings of a name that are kept, in bytes.
const maxStrings = 1 << 10

var errNoName = errors.New("a route without a name")

// nameOf reads the name of a route. Strings that do not hash to it, or are long, are left out. Rules: P-ctl-5.
func nameOf(r *controllerpb.Route) (wire.NameText, error) {
	n := r.GetName()
	e, s := n.GetName(), n.GetStrName()
	str := [3]string{s.GetStrComponent_0(), s.GetStrComponent_1(), s.GetStrComponent_2()}
	switch {
	case e == nil && s == nil:
		return wire.NameText{}, errNoName
	case e == nil:
		return wire.Text(str[0], str[1], str[2]), nil
	}
	t := wire.NameText{Name: wire.Name{C: [3]uint64{e.GetComponent_0(), e.GetComponent_1(), e.GetComponent_2()}, Hi: wire.Null, Lo: wire.Null}}
	if id := e.GetNameId(); id != nil {
		t.Name.Hi, t.Name.Lo = id.GetId_0(), id.GetId_1()
	}
	known := s != nil && len(str[0])+len(str[1])+len(str[2]) <= maxStrings
	for i := range str {
		known = known && wire.Hash(str[i]) == t.Name.C[i]
	}
	if t.NoStrings = !known; known {
		t.Str = str
	}
	return t, nil
}

// nameFor is a name as control planes and tools take it: always with both of its forms.
func nameFor(t wire.NameText) *pb.Name {
	return &pb.Name{
		Name: &pb.EncodedName{Component_0: t.Name.C[0], Component_1: t.Name.C[1], Component_2: t.Name.C[2],
			NameId: &pb.NameId{Id_0: t.Name.Hi, Id_1: t.Name.Lo}},
		StrName: &pb.StringName{StrComponent_0: t.Str[0], StrComponent_1: t.Str[1], StrComponent_2: t.Str[2]},
	}
}
