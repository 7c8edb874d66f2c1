//! The setters that everything composed of calls has, written once.

/// The methods of one call: what holds a `self.options` and lends its links by `self.links()`.
///
/// `$value` is what it returns.
macro_rules! call_options {
    ($value:ty) => {
        /// Sends it under this id.
        pub fn id(mut self, id: impl Into<$crate::TaskId>) -> Self {
            self.options_mut().id = Some(id.into());
            self
        }

        /// Sends it to this queue.
        pub fn queue(mut self, queue: impl Into<String>) -> Self {
            self.options_mut().queue = Some(queue.into());
            self
        }

        /// Sends it to the queues that an exchange has for this routing key, instead of a queue.
        pub fn exchange(
            mut self,
            exchange: impl Into<String>,
            routing_key: impl Into<String>,
        ) -> Self {
            self.options_mut().exchange = Some(Box::new($crate::ExchangeKey {
                exchange: exchange.into(),
                routing_key: routing_key.into(),
            }));
            self
        }

        /// Tries so often to send it again if the broker does not take it, instead of as often as the
        /// app says; for a step in a canvas the app's word counts, and on a pool nothing is sent.
        pub fn publish_retry(mut self, policy: $crate::PublishRetry) -> Self {
            self.options_mut().publish_retry = Some(Box::new(policy));
            self
        }

        /// Lets it start no sooner than `delay` from sending; behind another step, from that one's
        /// end.
        pub fn countdown(mut self, delay: std::time::Duration) -> Self {
            self.options_mut().countdown = Some(delay);
            self
        }

        /// Lets it start no sooner than `eta`.
        pub fn eta(mut self, eta: jiff::Timestamp) -> Self {
            self.options_mut().eta = Some(eta);
            self
        }

        /// Gives it up if it has not started `after` sending; behind another step, after that one's
        /// end.
        pub fn expires(mut self, after: std::time::Duration) -> Self {
            self.options_mut().expires = Some(after);
            self
        }

        /// Lets it overtake calls of smaller priority in its queue: 0 to 9, larger first.
        pub fn priority(mut self, priority: u8) -> Self {
            self.options_mut().priority = Some(priority.min(9));
            self
        }

        /// Ends each attempt from outside after `limit`.
        pub fn time_limit(mut self, limit: std::time::Duration) -> Self {
            self.options_mut().time_limit = Some(limit);
            self
        }

        /// Interrupts each attempt's context after `limit`.
        pub fn soft_time_limit(mut self, limit: std::time::Duration) -> Self {
            self.options_mut().soft_time_limit = Some(limit);
            self
        }

        /// Leaves no result behind.
        pub fn ignore_result(mut self) -> Self {
            self.options_mut().ignore_result = Some(true);
            self
        }

        /// Encodes its arguments in this on a broker: JSON, MessagePack or, if that is built, YAML.
        ///
        /// JSON unless the app says otherwise. The result is always kept in JSON.
        pub fn serializer(mut self, serializer: $crate::ContentType) -> Self {
            self.options_mut().serializer = Some(serializer);
            self
        }

        /// Compresses its body in its message, on a broker that shares its queues with Celery.
        pub fn compression(mut self, compression: $crate::Compression) -> Self {
            let marks = self.options_mut().marks.get_or_insert_default();
            marks.compression = Some(compression);
            self
        }

        /// Adds a header of its message, which travels through retries; a pool has no messages.
        pub fn header(
            mut self,
            name: impl Into<String>,
            value: impl Into<serde_json::Value>,
        ) -> Self {
            let marks = self.options_mut().marks.get_or_insert_default();
            marks.headers.insert(name.into(), value.into());
            self
        }

        /// The name that logs and events show for it instead of its task's.
        pub fn shadow(mut self, name: impl Into<String>) -> Self {
            self.options_mut().marks.get_or_insert_default().shadow = Some(name.into());
            self
        }

        /// Stamps it: a name and value that its message, its retries and what follows it carry, and
        /// by which workers can be told to revoke.
        pub fn stamp(
            mut self,
            name: impl Into<String>,
            value: impl Into<serde_json::Value>,
        ) -> Self {
            let marks = self.options_mut().marks.get_or_insert_default();
            marks.stamps.insert(name.into(), value.into());
            self
        }

        /// Has `callback` run once this call has succeeded, beside what follows in its chain.
        ///
        /// A partial call takes the value. The outcome of a callback changes nobody else's.
        pub fn link<N>(mut self, callback: N) -> Self
        where
            N: $crate::canvas::Canvas,
            N::Takes: $crate::canvas::Follows<$value>,
        {
            self.links_mut().callbacks.push(callback.into_node());
            self
        }

        /// Has `errback` run once this call has failed for good.
        ///
        /// A partial call takes the id of the call that failed. The outcome of an errback changes
        /// nobody else's.
        pub fn link_error<N>(mut self, errback: N) -> Self
        where
            N: $crate::canvas::Canvas,
            N::Takes: $crate::canvas::FollowsFailure,
        {
            self.links_mut().errbacks.push(errback.into_node());
            self
        }
    };
}
pub(crate) use call_options;

/// The methods of many calls: what lends its tree by `self.node`.
macro_rules! canvas_options {
    () => {
        /// Sends every call that says nothing else to this queue.
        pub fn queue(self, queue: impl Into<String>) -> Self {
            let queue = queue.into();
            self.each(move |options| {
                if options.exchange.is_none() {
                    options.queue.get_or_insert_with(|| queue.clone());
                }
            })
        }

        /// Lets what starts first start no sooner than `delay` from sending.
        pub fn countdown(mut self, delay: std::time::Duration) -> Self {
            self.node.each_first(&mut |call| {
                call.options.countdown = Some(delay);
            });
            self
        }

        /// Lets what starts first start no sooner than `eta`.
        pub fn eta(mut self, eta: jiff::Timestamp) -> Self {
            self.node.each_first(&mut |call| {
                call.options.eta = Some(eta);
            });
            self
        }

        /// Gives up every call that says nothing else if it has not started `after` it was sent,
        /// which for a later step is the end of the one before.
        pub fn expires(self, after: std::time::Duration) -> Self {
            self.each(|options| {
                options.expires.get_or_insert(after);
            })
        }

        /// Gives every call that has none this priority: 0 to 9, larger first.
        pub fn priority(self, priority: u8) -> Self {
            self.each(|options| {
                options.priority.get_or_insert(priority.min(9));
            })
        }

        /// Encodes the arguments of every call that says nothing else in this on a broker.
        pub fn serializer(self, serializer: $crate::ContentType) -> Self {
            self.each(|options| {
                options.serializer.get_or_insert(serializer);
            })
        }

        /// Compresses the body of every call that says nothing else in its message.
        pub fn compression(self, compression: $crate::Compression) -> Self {
            self.each(|options| {
                let marks = options.marks.get_or_insert_default();
                marks.compression.get_or_insert(compression);
            })
        }

        /// Adds a header to the message of every call that has none of this name.
        pub fn header(self, name: impl Into<String>, value: impl Into<serde_json::Value>) -> Self {
            let (name, value) = (name.into(), value.into());
            self.each(move |options| {
                let marks = options.marks.get_or_insert_default();
                marks.headers.entry(&name).or_insert_with(|| value.clone());
            })
        }

        /// Stamps every call that has no stamp of this name.
        pub fn stamp(self, name: impl Into<String>, value: impl Into<serde_json::Value>) -> Self {
            let (name, value) = (name.into(), value.into());
            self.each(move |options| {
                let marks = options.marks.get_or_insert_default();
                marks.stamps.entry(&name).or_insert_with(|| value.clone());
            })
        }

        fn each(mut self, mut change: impl FnMut(&mut $crate::CallOptions)) -> Self {
            self.node.each_call(&mut |call| change(&mut call.options));
            self
        }
    };
}
pub(crate) use canvas_options;
