package exactly

import (
	"errors"
	"fmt"

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
	for name, v := range headers {
		size += len(name) + len(v)
	}
	p.a.mu.Lock()
	m, table := p.a.member, p.a.table
	p.a.mu.Unlock()
	switch {
	case size > int(p.a.cfg.MaxMessageBytes):
		done(nil, &OversizeError{Topic: topic, Key: key, Bytes: size, Max: int(p.a.cfg.MaxMessageBytes)})
	case m == nil:
		done(nil, errNoSession)
	case topic == table && p.a.hold(key, headers):
		finish(nil, nil) // The end of the turn writes it.
	default:
		p.a.cfg.Status.emits.Add(1)
		m.link.produce(m.ctx, record(topic, key, value, headers), func(r *kgo.Record, err error) {
			if err != nil {
				err = fmt.Errorf("exactly: emit to %s: %w", topic, err)
			}
			done(r, err)
		})
	}
	return promise
}

// record makes what is produced.
func record(topic, key string, value []byte, headers goka.Headers) *kgo.Record {
	r := &kgo.Record{Topic: topic, Key: []byte(key), Value: value}
	for name, v := range headers {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: name, Value: v})
	}
	return r
}

// Close does nothing: the client is the member's.
func (producer) Close() error { return nil }
