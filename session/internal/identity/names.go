package identity

import (
	"errors"
	"strings"

	"github.com/seed31b3bfd0/slimgo/wire"
)

// Name gives the name the id of its subject: that of an app.
func Name(n wire.NameText, subject string) wire.NameText {
	return n.WithID(wire.HashID(subject))
}

// IsOf reports whether the name has the id of this subject.
func IsOf(n *wire.NameText, subject string) bool {
	hi, lo := wire.HashID(subject)
	return n.Name.Hi == hi && n.Name.Lo == lo
}

var errChannel = errors.New("the channel's data and control names cannot be told apart: choose another name")

// Channel returns the names of a group's data and control messages, whose moderator is subject.
func Channel(n wire.NameText, subject string) (data, control wire.NameText, err error) {
	text := subject + "/" + strings.Join(n.Str[:], "/")
	for salt := range uint64(11) {
		data, control = n.WithID(wire.HashChannel(text+"/data", salt)), n.WithID(wire.HashChannel(text+"/control", salt))
		if data.Name != control.Name {
			return data, control, nil
		}
	}
	return data, control, errChannel
}
