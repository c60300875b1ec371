//! The loop itself: steps, epochs, checkpoints.

use super::{
    Collate, FitConfig, Fitted, Loader, Metrics, Run, Samples, Schedule, StepOutput, Trainable,
    audit::audit,
    checkpoint::{Checkpoints, Exact, State, Watch},
    clip_grad_norm,
    config::Mode,
    ema::Ema,
    grad_norm,
    history::EpochRecord,
    loader::Batches,
    optim::{optimizer, read_scalar, scale},
    resume::{self, Learned},
    stream,
};
use crate::{Error, Result, RunContext, progress::Progress, seed::derive};
use burn::{
    optim::{GradientsAccumulator, GradientsParams},
    tensor::Device,
};
use std::time::Instant;

/// Trains `model` on `samples` and returns the best weights.
///
/// `model` may be on any device and in any mode; frozen groups and LoRA adapters stay as they are.
/// burn initialises parameters at their first use: those still pending are drawn here, from
/// `config.seed`. Training runs on `context.device` with autodiff. After each epoch `validate` gets
/// the model without autodiff, in evaluation mode (averaged weights where EMA is on), and returns
/// named metrics, or none if the configuration names none.
///
/// The first step is preceded by a gradient audit; its error names every trainable parameter that
/// gets no finite non-zero gradient on three batches. `context.interrupt` is looked at after each
/// optimiser step: the state is saved and [`Error::Interrupted`] says how to go on. Going on gives
/// the same bits as never having stopped. A loss or gradient norm that is not finite ends the run
/// with [`Error::Training`], which names the last good checkpoint.
pub fn fit<M, S, C>(
    model: M,
    config: &FitConfig,
    samples: &S,
    collate: &C,
    validate: &mut dyn FnMut(&M) -> Result<Metrics>,
    run: &Run,
    context: &RunContext,
) -> Result<Fitted<M>>
where
    M: Trainable,
    S: Samples + ?Sized,
    C: Collate<S::Sample, Batch = M::Batch> + ?Sized,
{
    let setup = Setup::new(config, samples, collate, run, context)?;
    let mut learned = setup.start(model)?;
    let mut progress = Progress::new("train", setup.schedule.num_steps() as u64);
    progress.start_at(learned.state.step as u64);
    while learned.state.epoch < config.epochs && !learned.state.stopped_early {
        let started = Instant::now();
        learned = setup.train_epoch(learned, &mut progress, started)?;
        setup.end_epoch(&mut learned, validate, &progress, started)?;
    }
    progress.finish();
    let best = learned
        .state
        .best
        .value
        .map(|value| (learned.state.best.epoch, value.0));
    let last = learned.eval_model();
    let model = match best {
        Some(_) => resume::load_best(&setup.checkpoints, last)?,
        None => last,
    };
    let State {
        history,
        stopped_early,
        ..
    } = learned.state;
    Ok(Fitted {
        model,
        history,
        best,
        stopped_early,
    })
}

/// Everything about a run that does not change while it runs.
struct Setup<'a, S: ?Sized, C: ?Sized> {
    config: &'a FitConfig,
    run: &'a Run,
    context: &'a RunContext,
    loader: Loader<'a, S, C>,
    schedule: Schedule,
    checkpoints: Checkpoints,
    /// With autodiff.
    device: Device,
}

/// One optimiser step's worth of gradients.
struct Group {
    grads: GradientsParams,
    batches: usize,
    samples: usize,
    loss_sum: f64,
}

impl<'a, S, C> Setup<'a, S, C>
where
    S: Samples + ?Sized,
    C: Collate<S::Sample> + ?Sized,
{
    fn new(
        config: &'a FitConfig,
        samples: &'a S,
        collate: &'a C,
        run: &'a Run,
        context: &'a RunContext,
    ) -> Result<Self> {
        config.validate()?;
        let loader = Loader::shuffled(samples, collate, config.batch_size, config.seed)
            .with_drop_last(config.drop_last);
        if loader.num_batches() == 0 {
            let what = format!("{} samples make no batch", loader.num_samples());
            let expected = format!(
                "at least one sample, or {} with drop_last",
                config.batch_size
            );
            return Err(Error::input("training data", what, expected));
        }
        let schedule = Schedule::new(config, loader.num_batches().div_ceil(config.accumulation))?;
        let checkpoints = Checkpoints::new(&run.dir);
        let device = context.device.clone().autodiff();
        Ok(Self {
            config,
            run,
            context,
            loader,
            schedule,
            checkpoints,
            device,
        })
    }

    /// The start of a fresh run, or the state of `checkpoint/last`.
    fn start<M>(&self, model: M) -> Result<Learned<M>>
    where
        M: Trainable<Batch = C::Batch>,
    {
        let fresh = State::fresh(self.config, self.run, self.loader.num_samples())?;
        self.context
            .device
            .seed(derive(&[self.config.seed, stream::WEIGHTS]));
        // The caller's model may be on an autodiff device, and its clones share running statistics.
        let plain = model.valid().fork(&self.context.device);
        let optimizer = optimizer(&self.config.optimizer)?;
        if self.run.resume {
            let averaged = self.config.ema_decay;
            return resume::load_last(&self.checkpoints, plain, optimizer, averaged, &fresh);
        }
        self.run.check()?;
        audit(&plain, self.config.seed, &self.device, |i| {
            self.loader
                .batch(0, i % self.loader.num_batches(), &self.device)
        })?;
        let ema = self.config.ema_decay.map(|decay| Ema::new(&plain, decay));
        Ok(Learned {
            model: plain.train(),
            optimizer,
            ema,
            state: fresh,
        })
    }

    /// The rest of the current epoch.
    fn train_epoch<M>(
        &self,
        learned: Learned<M>,
        progress: &mut Progress,
        started: Instant,
    ) -> Result<Learned<M>>
    where
        M: Trainable<Batch = C::Batch>,
    {
        let (epoch, skip) = (learned.state.epoch, learned.state.batch);
        self.loader.pass(epoch, skip, &self.device, |batches| {
            let mut learned = learned;
            while let Some(group) = self.group(&mut learned, batches)? {
                learned = self.optimizer_step(learned, group)?;
                progress.advance(1, &self.message(&learned.state));
                self.after_step(&mut learned, started)?;
            }
            Ok(learned)
        })
    }

    /// Forward and backward of the next `accumulation` batches; `None` at the end of the epoch.
    fn group<M>(
        &self,
        learned: &mut Learned<M>,
        batches: &mut Batches<M::Batch>,
    ) -> Result<Option<Group>>
    where
        M: Trainable,
    {
        let mut accumulator = GradientsAccumulator::new();
        let (mut count, mut samples, mut loss_sum) = (0, 0, 0.0);
        while count < self.config.accumulation {
            let Some(batch) = batches.next().transpose()? else {
                break;
            };
            let state = &mut learned.state;
            let position = [
                self.config.seed,
                stream::STEP,
                state.step as u64,
                count as u64,
            ];
            self.device.seed(derive(&position));
            let StepOutput {
                loss,
                num_samples,
                metrics,
            } = learned.model.loss(batch);
            let value = read_scalar(loss.clone().inner())?;
            if !value.is_finite() {
                let batch = state.batch + count + 1;
                let what = format!(
                    "the loss is {value} in batch {batch} of epoch {}",
                    state.epoch + 1
                );
                return Err(self.diverged(state, what));
            }
            // Sums over the samples now, one division at the end: equal to the big batch whatever
            // the sizes of its parts. A single part needs neither.
            let loss = match self.config.accumulation {
                1 => loss,
                _ => loss.mul_scalar(num_samples as f64),
            };
            let grads = GradientsParams::from_grads(loss.backward(), &learned.model);
            accumulator.accumulate(&learned.model, grads);
            state.sums.add(value, num_samples, &metrics);
            count += 1;
            samples += num_samples;
            loss_sum += value * num_samples as f64;
        }
        if count == 0 {
            return Ok(None);
        }
        let grads = match self.config.accumulation {
            1 => accumulator.grads(),
            _ => scale(
                &learned.model,
                accumulator.grads(),
                1.0 / samples.max(1) as f64,
            ),
        };
        Ok(Some(Group {
            grads,
            batches: count,
            samples,
            loss_sum,
        }))
    }

    fn optimizer_step<M: Trainable>(
        &self,
        mut learned: Learned<M>,
        group: Group,
    ) -> Result<Learned<M>> {
        let norm = grad_norm(&learned.model, &group.grads)?;
        if !norm.is_finite() {
            return Err(self.diverged(&learned.state, format!("the gradient norm is {norm}")));
        }
        let grads = match self.config.clip_norm {
            Some(max) => clip_grad_norm(&learned.model, group.grads, norm, max),
            None => group.grads,
        };
        let lr = self.schedule.lr(learned.state.step);
        learned.model = learned.optimizer.step(lr, learned.model, grads);
        learned.ema = learned.ema.map(|ema| ema.update(&learned.model));
        let state = &mut learned.state;
        state.step += 1;
        state.batch += group.batches;
        state
            .history
            .losses
            .push(group.loss_sum / group.samples.max(1) as f64);
        state.history.lrs.push(lr);
        state.history.grad_norms.push(norm);
        Ok(learned)
    }

    /// Saves when it is time to, and stops when asked to.
    fn after_step<M: Trainable>(&self, learned: &mut Learned<M>, started: Instant) -> Result<()> {
        let step = learned.state.step;
        let due = self
            .config
            .checkpoint_every_steps
            .is_some_and(|every| step.is_multiple_of(every));
        let interrupted = self.context.interrupt.is_raised();
        if due || interrupted {
            self.save_amid(learned, started)?;
        }
        if interrupted {
            let dir = self.run.dir.display();
            let resume = format!("saved after step {step}; to go on: --resume {dir}");
            return Err(Error::Interrupted { resume });
        }
        Ok(())
    }

    /// Saves `last` in the middle of an epoch, the seconds so far included.
    fn save_amid<M: Trainable>(&self, learned: &mut Learned<M>, started: Instant) -> Result<()> {
        let before = learned.state.sums.seconds;
        learned.state.sums.seconds = Exact(before.0 + started.elapsed().as_secs_f64());
        let saved = resume::save_last(&self.checkpoints, learned);
        learned.state.sums.seconds = before;
        saved
    }

    /// Validates, writes the epoch down, decides about the best weights and about stopping.
    fn end_epoch<M: Trainable>(
        &self,
        learned: &mut Learned<M>,
        validate: &mut dyn FnMut(&M) -> Result<Metrics>,
        progress: &Progress,
        started: Instant,
    ) -> Result<()> {
        let model = learned.eval_model();
        let validated = validate(&model).and_then(|metrics| {
            let watched = self.watch(&mut learned.state, &metrics)?;
            Ok((metrics, watched))
        });
        let (validation, improved) = match validated {
            Ok(validated) => validated,
            Err(error) => {
                // The epoch's training is not lost: going on repeats only the validation.
                self.save_amid(learned, started)?;
                return Err(error);
            }
        };
        let state = &mut learned.state;
        let sums = std::mem::take(&mut state.sums);
        state.epoch += 1;
        state.batch = 0;
        state.history.epochs.push(EpochRecord {
            epoch: state.epoch,
            steps: state.step,
            train: sums.means(),
            validation,
            seconds: sums.seconds.0 + started.elapsed().as_secs_f64(),
        });
        if let Some(record) = state.history.epochs.last() {
            progress.note(&summary(record, self.config.epochs));
        }
        // The best first: should the process die in between, `last` only repeats the epoch.
        if improved {
            resume::save_best(&self.checkpoints, model, state)?;
        }
        resume::save_last(&self.checkpoints, learned)
    }

    /// Whether the metric that chooses the best weights improved.
    fn watch(&self, state: &mut State, metrics: &[(String, f64)]) -> Result<bool> {
        let value = |name: &str| {
            let found = metrics
                .iter()
                .find(|(known, _)| known == name)
                .map(|(_, value)| *value);
            let known = metrics.iter().map(|(known, _)| known);
            found.ok_or_else(|| Error::unknown("validation metric", name, known))
        };
        let best = self.config.best_metric.as_ref();
        let best = best
            .map(|m| Ok::<_, Error>((value(&m.name)?, m.mode)))
            .transpose()?;
        let early = self.config.early_stopping.as_ref();
        let early = early
            .map(|m| Ok::<_, Error>((value(&m.metric)?, m)))
            .transpose()?;
        let epoch = state.epoch + 1;
        let improved = best.is_some_and(|(value, mode)| state.best.observe(value, mode, epoch));
        if let Some((value, stopping)) = early {
            state.early.observe(value, stopping.mode, epoch);
            state.stopped_early = state.early.waited >= stopping.patience;
        }
        Ok(improved)
    }

    fn message(&self, state: &State) -> String {
        let means: Vec<String> = state
            .sums
            .means()
            .iter()
            .map(|(name, value)| format!("{name} {value:.4}"))
            .collect();
        format!(
            "epoch {}/{} {}",
            state.epoch + 1,
            self.config.epochs,
            means.join(" ")
        )
    }

    fn diverged(&self, state: &State, what: String) -> Error {
        let checkpoint = self.checkpoints.locate(Checkpoints::LAST);
        Error::Training {
            step: state.step as u64 + 1,
            what,
            checkpoint,
        }
    }
}

impl Watch {
    /// Counts one validation; whether it is the best so far.
    fn observe(&mut self, value: f64, mode: Mode, epoch: usize) -> bool {
        let better = mode.is_better(value, self.value.map(|best| best.0));
        if better {
            *self = Self {
                value: Some(Exact(value)),
                epoch,
                waited: 0,
            };
        } else {
            self.waited += 1;
        }
        better
    }
}

/// `epoch 3/10: loss 0.51 accuracy 0.80 | validation accuracy 0.79 (12 s)`.
fn summary(record: &EpochRecord, epochs: usize) -> String {
    let join = |pairs: &[(String, f64)]| {
        let each: Vec<String> = pairs
            .iter()
            .map(|(name, x)| format!(" {name} {x:.4}"))
            .collect();
        each.concat()
    };
    let validation = if record.validation.is_empty() {
        String::new()
    } else {
        format!(" | validation{}", join(&record.validation))
    };
    let (train, seconds) = (join(&record.train), record.seconds);
    format!(
        "epoch {}/{epochs}:{train}{validation} ({seconds:.1} s)",
        record.epoch
    )
}
