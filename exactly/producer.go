package exactly

import (
	"errors"

	"github.com/IBM/sarama"
	"github.com/lovoo/goka"
	"github.com/twmb/franz-go/pkg/kgo"
)

// producer emits within the open turn.
type producer struct{ a *Adapter }

var _ goka.Producer = producer{}

// errNoSession refuses an emit outside of a session: there is no transaction.
var errNoSession = errors.New("exactly: emit: there is no open transaction")

// Emit implements goka.Producer.
func (p producer) Emit(topic, key string, value []byte) *goka.Promise {
	return p.EmitWithHeaders(topic, key, value, nil)
}

// EmitWithHeaders produces a record in the open transaction. A record over the
// limit is refused before it is produced, with an *OversizeError.
func (p producer) EmitWithHeaders(topic, key string, value []byte, headers goka.Headers) *goka.Promise {
	promise, finish := goka.NewPromiseWithFinisher()
	done := func(r *kgo.Record, err error) {
		// The promise carries it to goka, which ends the partition. What a session's
		// end aborts is the consequence of an error, and would hide it.
		if err != nil && !errors.Is(err, kgo.ErrAborting) {
			_ = p.a.note(err)
		}
		message := &sarama.ProducerMessage{Topic: topic}
		if r != nil {
			message.Partition, message.Offset = r.Partition, r.Offset
		}
		finish(message, err)
	}
	size := len(key) + len(value)
	r := &kgo.Record{Topic: topic, Key: []byte(key), Value: value}
	for name, v := range headers {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: name, Value: v})
		size += len(name) + len(v)
	}
	p.a.mu.Lock()
	m := p.a.member
	p.a.mu.Unlock()
	switch {
	case size > int(p.a.cfg.MaxMessageBytes):
		done(nil, &OversizeError{Topic: topic, Key: key, Bytes: size, Max: int(p.a.cfg.MaxMessageBytes)})
	case m == nil:
		done(nil, errNoSession)
	default:
		p.a.cfg.Status.emits.Add(1)
		m.link.produce(m.ctx, r, done)
	}
	return promise
}

// Close does nothing: the client is the member's.
func (producer) Close() error { return nil }
