variable "region" {
  description = "The region, such as eu-frankfurt-1."
  type        = string
  validation {
    condition     = can(regex("^[a-z]+-[a-z]+-[0-9]+$", var.region))
    error_message = "The region must be a name such as eu-frankfurt-1."
  }
}

variable "tenancy_ocid" {
  description = "The tenancy."
  type        = string
  validation {
    condition     = startswith(var.tenancy_ocid, "ocid1.tenancy.")
    error_message = "The tenancy must be an OCID that begins with ocid1.tenancy."
  }
}

variable "subnet_ocid" {
  description = "A subnet of yours, from which pip reaches its index; the machine joins its compartment."
  type        = string
  validation {
    condition     = startswith(var.subnet_ocid, "ocid1.subnet.")
    error_message = "The subnet must be an OCID that begins with ocid1.subnet."
  }
}

variable "availability_domain" {
  description = "Which of the region's availability domains, from 1 on."
  type        = number
  default     = 1
  validation {
    condition     = contains([1, 2, 3], var.availability_domain)
    error_message = "The availability domain must be 1, 2 or 3."
  }
}

variable "ssh_public_key" {
  description = "Your public key, to log in as ubuntu."
  type        = string
  validation {
    condition     = can(regex("^(ssh|ecdsa)-[a-z0-9-]+ [A-Za-z0-9+/=]+", var.ssh_public_key))
    error_message = "The key must be a line of an OpenSSH .pub file."
  }
}

variable "shape" {
  description = "A GPU shape by its name; phyletic has a worker for each GPU."
  type        = string
  default     = "VM.GPU.A10.1"
  validation {
    condition     = can(regex("^(VM|BM)\\.GPU.*\\.[0-9]+$", var.shape))
    error_message = "The shape must be that of a machine with GPUs, such as VM.GPU.A10.1."
  }
}

variable "packages" {
  description = "What pip installs, such as [\"phyletic @ https://example.org/phyletic-0.1.0-py3-none-any.whl\"]."
  type        = list(string)
}

variable "torch" {
  description = "The version of torch; null for none."
  type        = string
  default     = "2.13.0"
}

variable "driver" {
  description = "The branch of NVIDIA's driver."
  type        = string
  default     = "570-server"
}

variable "code" {
  description = "A folder with the training code; at most 12 kB of files, more belongs into a package."
  type        = string
}

variable "study" {
  description = "MODULE:STUDY, such as train.py:study."
  type        = string
}

variable "train" {
  description = "MODULE:FUNCTION of the training code, such as train.py:train."
  type        = string
}
