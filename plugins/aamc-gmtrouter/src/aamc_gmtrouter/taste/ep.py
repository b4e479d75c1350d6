"""Expectation propagation for Gaussian process classification with a probit likelihood, for many users at once.

    f ~ N(offset, K),  p(y | f) = product over i of Phi(y_i f_i),  y_i = 1 or -1                                      (1)

Each factor is approximated by a normal site of precision tau_i and shift nu_i, so that p(f | y) ~ N(offset + K alpha, ...) with

    alpha = (I - T (K^-1 + T)^-1) nu,  T = diag(tau)                                                                 (2)

All sites are updated at once, with damping; the derivatives of the evidence are exact at convergence.

Papers: Minka 2001, "Expectation Propagation for approximate Bayesian inference"; Chu and Ghahramani 2005, "Preference learning with Gaussian
processes"; Rasmussen and Williams 2006, "Gaussian Processes for Machine Learning", section 3.6.
"""

from __future__ import annotations

import attrs
import numpy as np
from scipy.special import log_ndtr  # type: ignore[import-untyped]  # scipy ships no types

from aamc_sdk.types import Floats

MAX_SWEEPS, TOLERANCE, DAMPING = 60, 1e-5, 0.8
"""Maximum number of updates, the change of a site below which they end, and the share of each update that is taken."""
_LOG_SQRT_2PI = 0.5 * np.log(2 * np.pi)
_TINY = 1e-10


@attrs.frozen(eq=False)
class Posterior:
    """The approximate posteriors of U users with up to n observations each.

    Attributes:
        alpha: Weight of each observation in the posterior mean, equation (2), ``[U, n]``.
        precision: Precision tau of each site, ``[U, n]``.
        shift: Shift nu of each site, ``[U, n]``.
        evidence: Logarithm of p(y), ``[U]``.
        slope: Derivative of the evidence by each offset, ``[U, n]``.
        inverse: (K + T^-1)^-1, ``[U, n, n]``; with alpha it gives derivatives by the kernel.
    """

    alpha: Floats
    precision: Floats
    shift: Floats
    evidence: Floats
    slope: Floats
    inverse: Floats

    def kernel_slope(self, kernel: Floats) -> float:
        """Return the derivative of all users' evidence along a change of the kernel ``[U, n, n]``."""
        quadratic = np.einsum("ui,uij,uj->", self.alpha, kernel, self.alpha)
        return float(0.5 * (quadratic - (self.inverse * kernel).sum()))


def infer(kernel: Floats, offset: Floats, y: Floats, start: tuple[Floats, Floats] | None = None) -> Posterior:
    """Return the posteriors.

    Args:
        kernel: K, ``[U, n, n]``.
        offset: Prior mean of f, ``[U, n]``.
        y: 1, -1, or 0 for no observation, ``[U, n]``.
        start: Precision and shift of sites to start from, ``[U, n]`` each; zeros when None.
    """
    observed = y != 0
    tau, nu = (np.zeros(y.shape), np.zeros(y.shape)) if start is None else start
    variance = np.einsum("uii->ui", kernel)
    for _ in range(MAX_SWEEPS):
        covariance, mean, _ = _gaussian(kernel, tau, nu)
        cavity_variance, cavity_mean = _cavity(covariance, mean, tau, nu, variance)
        _, first, second = _moments(cavity_mean + offset, cavity_variance, y)
        new_tau = np.where(observed, second / np.maximum(1 - cavity_variance * second, _TINY), 0.0)
        new_nu = np.where(observed, (first + cavity_mean * second) / np.maximum(1 - cavity_variance * second, _TINY), 0.0)
        change = np.abs(new_tau - tau).max(initial=0.0)
        tau, nu = tau + DAMPING * (new_tau - tau), nu + DAMPING * (new_nu - nu)
        if change < TOLERANCE:
            break
    covariance, mean, inverse = _gaussian(kernel, tau, nu)
    cavity_variance, cavity_mean = _cavity(covariance, mean, tau, nu, variance)
    log_z, first, _ = _moments(cavity_mean + offset, cavity_variance, y)
    shift = cavity_mean**2 * tau - 2 * cavity_mean * nu - nu**2 * cavity_variance
    sites = 0.5 * np.log1p(tau * cavity_variance) + 0.5 * shift / (1 + tau * cavity_variance)
    scaled = np.eye(y.shape[1]) + np.sqrt(tau)[:, :, None] * kernel * np.sqrt(tau)[:, None, :]
    evidence = np.where(observed, log_z + sites, 0.0).sum(axis=1) - 0.5 * np.linalg.slogdet(scaled)[1] + 0.5 * (mean * nu).sum(axis=1)
    return Posterior(nu - tau * mean, tau, nu, evidence, np.where(observed, first, 0.0), inverse)


def _gaussian(kernel: Floats, tau: Floats, nu: Floats) -> tuple[Floats, Floats, Floats]:
    """Return covariance ``[U, n, n]`` and mean ``[U, n]`` of f minus its offset under the sites, and (K + T^-1)^-1."""
    root = np.sqrt(tau)
    scaled = np.eye(tau.shape[1]) + root[:, :, None] * kernel * root[:, None, :]
    inverse = root[:, :, None] * np.linalg.inv(scaled) * root[:, None, :]
    covariance = kernel - kernel @ inverse @ kernel
    return covariance, np.einsum("uij,uj->ui", covariance, nu), inverse


def _cavity(covariance: Floats, mean: Floats, tau: Floats, nu: Floats, prior: Floats) -> tuple[Floats, Floats]:
    """Return variance and mean of f minus its offset without each own site, ``[U, n]`` each."""
    own = np.maximum(np.einsum("uii->ui", covariance), _TINY)
    variance = np.clip(own / np.maximum(1 - tau * own, _TINY), _TINY, np.maximum(prior, _TINY))
    return variance, variance * (mean / own - nu)


def _moments(mean: Floats, variance: Floats, y: Floats) -> tuple[Floats, Floats, Floats]:
    """Return log Z of each observation under its cavity, and minus the first and second derivatives by the mean."""
    sd = np.sqrt(1 + variance)
    z = y * mean / sd
    log_z = log_ndtr(z)
    ratio = np.exp(-0.5 * z * z - _LOG_SQRT_2PI - log_z)
    return log_z, y * ratio / sd, ratio * (z + ratio) / (1 + variance)
