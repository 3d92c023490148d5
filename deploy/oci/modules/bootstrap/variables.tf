variable "role" {
  description = "What the machine does: serve studies (head), train for them (worker), or run one study by itself (alone)."
  type        = string
  validation {
    condition     = contains(["head", "worker", "alone"], var.role)
    error_message = "The role must be head, worker or alone."
  }
}

variable "shape" {
  description = "The machine's shape. GPU shapes are known by their names: VM.GPU.A10.1 has one GPU, BM.GPU4.8 eight."
  type        = string
  validation {
    condition     = can(regex("^(VM|BM)\\.[A-Za-z0-9.-]+$", var.shape))
    error_message = "The shape must be a name such as VM.Standard.E5.Flex or VM.GPU.A10.1."
  }
}

variable "packages" {
  description = "What pip installs: phyletic with its extra service, and what the training code needs beside torch."
  type        = list(string)
  validation {
    condition     = length(var.packages) > 0 && alltrue([for one in var.packages : can(regex("^[A-Za-z0-9][A-Za-z0-9 @:/._+~=<>!,\\[\\]-]*$", one))])
    error_message = "Packages must be requirements of pip on one line each, such as phyletic[service]==0.1.0."
  }
}

variable "torch" {
  description = "The version of torch that pip installs; null for none."
  type        = string
  default     = null
  validation {
    condition     = var.torch == null || can(regex("^[0-9]+\\.[0-9]+\\.[0-9]+$", var.torch))
    error_message = "The version of torch must be like 2.13.0."
  }
}

variable "driver" {
  description = "The branch of NVIDIA's driver that Ubuntu's packages have; used for GPU shapes only."
  type        = string
  default     = "570-server"
  validation {
    condition     = can(regex("^[0-9]{3}(-server)?(-open)?$", var.driver))
    error_message = "The driver must be a branch such as 570-server or 570-server-open."
  }
}

variable "code" {
  description = "The training code: names of files, and their contents in base64. More than this belongs into a package."
  type        = map(string)
  default     = {}
  validation {
    condition     = alltrue([for name, content in var.code : can(regex("^[A-Za-z0-9_][A-Za-z0-9_./-]*$", name)) && !strcontains(name, "..")])
    error_message = "Names of files must be relative paths of letters, digits and _ . / -"
  }
  validation {
    condition     = length(join("", values(var.code))) <= 16000
    error_message = "The code must have at most 12 kB: a machine's metadata has no room for more. Put more into a package."
  }
}

variable "study" {
  description = "For a worker: the study's name. For a machine that is alone: MODULE:STUDY."
  type        = string
  default     = null
  validation {
    condition     = (var.role == "head") == (var.study == null) && (var.study == null || can(regex("^[A-Za-z0-9_][A-Za-z0-9_./:-]*$", var.study)))
    error_message = "Workers and machines that are alone need a study, of letters, digits and _ . / : -; a head has none."
  }
}

variable "train" {
  description = "MODULE:FUNCTION of the training code, for a worker and for a machine that is alone."
  type        = string
  default     = null
  validation {
    condition     = (var.role == "head") == (var.train == null) && (var.train == null || can(regex("^[A-Za-z0-9_][A-Za-z0-9_./-]*:[A-Za-z_][A-Za-z0-9_.]*$", var.train)))
    error_message = "Workers and machines that are alone need train, such as train.py:train; a head has none."
  }
}

variable "server" {
  description = "The name under which workers reach the head, which is in its certificate; null for a machine that is alone."
  type        = string
  default     = null
  validation {
    condition     = (var.role == "alone") == (var.server == null) && (var.server == null || can(regex("^[a-z0-9][a-z0-9.-]{0,252}$", var.server)))
    error_message = "A head and its workers need the head's name, such as head.workers.phyletic.oraclevcn.com."
  }
}

variable "bucket" {
  description = "The bucket through which the head gives workers its certificate and their token; null if alone."
  type        = string
  default     = null
  validation {
    condition     = (var.role == "alone") == (var.bucket == null) && (var.bucket == null || can(regex("^[A-Za-z0-9._-]{1,256}$", var.bucket)))
    error_message = "A head and its workers need a bucket, with a name of letters, digits and . _ -"
  }
}
